"""The contract as Python sees it: stubs made from the proto files, and a channel
with the service config that we tell callers to use.

`v1` has the messages of all files, `InventoryStub` and `AdminStub` are the
services.
"""

import contextlib
import importlib
import pathlib
import sys
import tempfile
import types
import uuid

import grpc
import grpc_tools
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICE_CONFIG = ROOT / "deploy/client/service-config.json"
PACKAGE = "holdfast/inventory/v1"
PATIENCE_SECONDS = 25


def _make_stubs():
    """Makes the stubs anew, imports them, and returns the modules by name."""
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = sorted((ROOT / "proto" / PACKAGE).glob("*.proto"))
    with tempfile.TemporaryDirectory(prefix="holdfast-stubs-") as made:
        failed = protoc.main(
            [
                "protoc",
                f"-I{ROOT / 'proto'}",
                f"-I{well_known}",
                f"--python_out={made}",
                f"--grpc_python_out={made}",
                *map(str, files),
            ]
        )
        assert not failed, "protoc failed"
        sys.path.insert(0, made)
        try:
            package = PACKAGE.replace("/", ".")
            kinds = ("_pb2", "_pb2_grpc")
            names = [file.stem + kind for file in files for kind in kinds]
            return {n: importlib.import_module(f"{package}.{n}") for n in names}
        finally:
            sys.path.remove(made)


_modules = _make_stubs()
v1 = types.SimpleNamespace(
    **{
        name: value
        for module in _modules.values()
        for name, value in vars(module).items()
        if not name.startswith("_")
    }
)
InventoryStub = v1.InventoryServiceStub
AdminStub = v1.AdminServiceStub


@contextlib.contextmanager
def channel(address):
    """A channel by our service config; reconnects sooner than gRPC's default,
    which waits up to two minutes."""
    options = [
        ("grpc.service_config", SERVICE_CONFIG.read_text("utf-8")),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    with grpc.insecure_channel(address, options) as opened:
        yield opened


def new_id():
    return str(uuid.uuid4())


def create(admin, item_id, stock, **settings):
    item = v1.Item(item_id=item_id, **settings)
    request = v1.CreateItemRequest(
        item=item, initial_stock=stock, request_id=new_id()
    )
    return admin.CreateItem(request).item


def reason(error):
    """The reason of an error of Holdfast's own; None for any other, of which
    nobody knows whether it was done."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
            if info.domain == "holdfast":
                return info.reason
    return None
