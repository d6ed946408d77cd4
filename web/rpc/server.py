"""The gRPC server on its port, in the gateway's loop."""

import socket

import grpc
from grpc_reflection.v1alpha import reflection

from app.config import SettingsError
from web.reads_client import ReadPort
from web.rpc import chatservice_pb2 as pb
from web.rpc.service import ChatService

REQUEST_BYTES = 65_536
# Beyond it callers get RESOURCE_EXHAUSTED; `ChatService` says SERVICE_UNAVAILABLE before. A call ends when its answer
# was sent, so this bounds what waits for slow callers as well.
CALLS = 5_000
PENDING = 10_000
GRACE_S = 2.5

_SERVICE = pb.DESCRIPTOR.services_by_name["ChatService"]
_METHOD = _SERVICE.methods_by_name["RetrieveLastMessages"]

_OPTIONS = (
    # Otherwise a second server on the port would get half of the connections, and nobody would be told.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", REQUEST_BYTES),
    # What waits to be taken up: by default the core ends some calls of a burst of a thousand, and any beyond three
    # (gRPC's `server.cc`, random early rejection). A bound on streams would end them, too, instead of holding them up.
    ("grpc.server.max_pending_requests", PENDING),
    ("grpc.server.max_pending_requests_hard_limit", PENDING),
    # Old callers may ping as often as they did: by default the server would send them away for it (gRFC A8).
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class RpcServer:
    """A server that is bound from the beginning, answers from `start` on, and must be stopped in any case."""

    def __init__(self, host: str, port: int) -> None:
        """Must be made in the loop.

        Raises:
            SettingsError: the address cannot be had.
        """
        self._service: ChatService | None = None
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=CALLS)
        try:
            self._server.add_insecure_port(_free_address(host, port))
        except (RuntimeError, OSError) as taken:
            why = taken.strerror if isinstance(taken, OSError) else str(taken)
            raise SettingsError(f"GRPC_PORT: {host}:{port} cannot be listened on: {why}") from taken

    async def start(self, reads: ReadPort, timeout_s: float) -> None:
        """Answer calls from `reads`, each within `timeout_s`."""
        self._service = service = ChatService(reads, timeout_s)
        handler = grpc.unary_unary_rpc_method_handler(service.retrieve_last_messages)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE.full_name, {_METHOD.name: handler}),)
        )
        reflection.enable_server_reflection((_SERVICE.full_name, reflection.SERVICE_NAME), self._server)
        await self._server.start()

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Take no more calls, and end when those under way are answered, at the latest when the time is over."""
        if self._service is not None:
            self._service.end(grace_s / 2)
        await self._server.stop(grace_s)


def _free_address(host: str, port: int) -> str:
    """As gRPC writes it; OSError says why it cannot be had, which gRPC itself would not."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    return f"[{address[0]}]:{port}" if family is socket.AF_INET6 else f"{address[0]}:{port}"
