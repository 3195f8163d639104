"""Asks a server about its health with gRPC's own client for Python.

Prints what Check and the first message of Watch say of each service, as JSON.
Usage: health.py HOST:PORT
"""

import json
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICES = [
    "",
    "holdfast.inventory.v1.InventoryService",
    "store",
    "holdfast.inventory.v1.AdminService",
    "liveness",
    "no.such.Service",
]
PATIENCE_SECONDS = 20


def name(status):
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def ask(stub, service):
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        check = name(stub.Check(request, timeout=PATIENCE_SECONDS).status)
    except grpc.RpcError as error:
        check = error.code().name
    stream = stub.Watch(request, timeout=PATIENCE_SECONDS)
    try:
        watch = name(next(stream).status)
    except grpc.RpcError as error:
        watch = error.code().name
    stream.cancel()
    return {"check": check, "watch": watch}


def main(address):
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        print(json.dumps({service: ask(stub, service) for service in SERVICES}))


if __name__ == "__main__":
    main(sys.argv[1])
