"""Buys with gRPC's own retry policy from a server that comes and goes.

Each buyer holds a unit and then pays for it or gives it back. Where even the
policy's retries end without a decision, the buyer sends the same ids again, as
often as it takes. Tells of every hundred decisions on standard output; after
as many as were asked for, prints what came of them as JSON.

Usage: retries.py HOST:PORT DECISIONS
"""

import collections
import json
import sys
import threading

import grpc

import contract
from contract import new_id, v1

ITEM = "sneaker"
BUYERS = 24
# Of these nobody knows whether it was done; the same ids tell.
UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Sale:
    def __init__(self, decisions):
        self.decisions = decisions
        self.lock = threading.Lock()
        self.done = collections.Counter()
        self.asked_again = collections.Counter()

    def wants_more(self):
        with self.lock:
            return self.done["reserved"] < self.decisions

    def decided(self, what):
        with self.lock:
            self.done[what] += 1
            if what == "reserved" and self.done[what] % 100 == 0:
                print(self.done[what], flush=True)

    def until_decided(self, rpc, request):
        while True:
            try:
                return rpc(request)
            except grpc.RpcError as error:
                assert error.code() in UNKNOWN, error
                why = contract.reason(error) or error.code().name
                with self.lock:
                    self.asked_again[why] += 1

    def buy(self, inventory, buyer):
        number = 0
        while self.wants_more():
            number += 1
            key = v1.ReservationKey(
                item_id=ITEM, buyer_id=f"buyer-{buyer}-{number}", request_id=new_id()
            )
            reserve = v1.ReserveRequest(
                item_id=ITEM,
                buyer_id=key.buyer_id,
                request_id=key.request_id,
                quantity=1,
            )
            reply = self.until_decided(inventory.Reserve, reserve)
            assert reply.outcome == v1.RESERVE_OUTCOME_RESERVED, reply
            self.decided("reserved")
            if number % 2 == 0:
                self.until_decided(inventory.Confirm, v1.ConfirmRequest(key=key))
                self.decided("confirmed")
            elif number % 3 == 0:
                self.until_decided(inventory.Cancel, v1.CancelRequest(key=key))
                self.decided("cancelled")


def main(address, decisions):
    sale = Sale(decisions)
    with contract.channel(address) as channel:
        inventory = contract.InventoryStub(channel)
        failed = []

        def buyer(number):
            try:
                sale.buy(inventory, number)
            except BaseException as error:  # told by the main thread
                failed.append(error)
                raise

        buyers = [threading.Thread(target=buyer, args=[n]) for n in range(BUYERS)]
        for thread in buyers:
            thread.start()
        for thread in buyers:
            thread.join()
        assert not failed, failed
    print(json.dumps({"done": sale.done, "asked_again": sale.asked_again}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
