"""Sells an item out with stubs made from the proto files: half of it call by
call, the rest over one stream, each with many buyers at a time.

Prints what came of it as JSON. Usage: sells_out.py HOST:PORT
"""

import collections
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import contract
from contract import PATIENCE_SECONDS, new_id, v1

ITEM = "sneaker"
UNITS = 400
CALLERS = 16
ASKS_EACH = 20


def name(outcome):
    return v1.ReserveOutcome.Name(outcome).removeprefix("RESERVE_OUTCOME_").lower()


def ask(number):
    return v1.ReserveRequest(
        item_id=ITEM,
        buyer_id=f"buyer-{number}",
        request_id=new_id(),
        quantity=1,
        first_attempt=True,
    )


def call_by_call(inventory):
    """Asks for fewer units than there are; every second one is paid for."""

    def buy(caller):
        outcomes = []
        for number in range(ASKS_EACH):
            reply = inventory.Reserve(ask(f"{caller}-{number}"))
            outcomes.append(name(reply.outcome))
            if number % 2 == 0:
                target = reply.reservation.reservation_id
                paid = inventory.Confirm(v1.ConfirmRequest(reservation_id=target))
                assert paid.outcome == v1.CONFIRM_OUTCOME_CONFIRMED, paid
        return outcomes

    with ThreadPoolExecutor(CALLERS) as callers:
        done = list(callers.map(buy, range(CALLERS)))
    return collections.Counter(outcome for outcomes in done for outcome in outcomes)


def by_stream(inventory):
    """Asks for more units than are left; answers come in any order."""
    open_calls = set(range(UNITS))
    asks = (
        v1.ReserveStreamRequest(call_id=number, request=ask(f"stream-{number}"))
        for number in range(UNITS)
    )
    outcomes = collections.Counter()
    for answer in inventory.ReserveStream(asks, timeout=PATIENCE_SECONDS):
        open_calls.remove(answer.call_id)
        assert answer.result.WhichOneof("result") == "response", answer
        outcomes[name(answer.result.response.outcome)] += 1
    assert not open_calls, open_calls
    return outcomes


def main(address):
    with contract.channel(address) as channel:
        inventory, admin = contract.InventoryStub(channel), contract.AdminStub(channel)
        contract.create(admin, ITEM, UNITS, shard_count=3)
        told = {"calls": call_by_call(inventory), "stream": by_stream(inventory)}
        strong = v1.STOCK_CONSISTENCY_STRONG
        request = v1.GetStockRequest(item_id=ITEM, consistency=strong)
        stock = inventory.GetStock(request).stock
        told["stock"] = [stock.available, stock.held, stock.sold]
        print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
