"""Sends more calls at once than the server works on at a time, by gRPC's own
retry policy: those that are shed come again when they were told to.

Prints how the calls ended, as JSON. Usage: shed.py HOST:PORT ITEM CALLS
"""

import collections
import json
import sys

import grpc

import contract
from contract import v1


def main(address, item, calls):
    request = v1.AuditItemRequest(item_id=item, level=v1.AUDIT_LEVEL_RECORDS)
    ended = collections.Counter()
    with contract.channel(address) as channel:
        admin = contract.AdminStub(channel)
        for call in [admin.AuditItem.future(request) for _ in range(calls)]:
            try:
                audit = call.result()
                ended[v1.AuditVerdict.Name(audit.verdict)] += 1
            except grpc.RpcError as error:
                ended[contract.reason(error) or error.code().name] += 1
    print(json.dumps(ended))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
