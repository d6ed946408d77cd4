"""WebSocket clients as cheap as can be: blocking to open, then bytes that are counted."""

import os
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

WITHIN_S = 30.0
# Between two looks of a drain. Who waits in epoll is woken by every frame of a sender that is no quicker than it reads,
# at the sender's cost, and by few frames of a quicker one: the loops would be compared by that.
PAUSE_S = 0.005
_HANDSHAKE = (
    "GET /v1/ws?user={user} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def client_frame(request: dict[str, Any]) -> bytes:
    """A request's frame, masked as a client must (with zeros: RFC 6455 §5.3 does not say which)."""
    payload = msgspec.json.encode(request)
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + b"\0\0\0\0" + payload


class RawClient:
    """One socket, in development mode as `user`; its hello is read."""

    def __init__(self, port: int, user: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self.received = 0  # bytes
        self.socket.sendall(_HANDSHAKE.format(user=user).encode())
        head = self._until(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"no WebSocket: {head[:200]!r}")
        self.hello = self.frame()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its reply, which must be the next frame; fails if it says no."""
        self.send(request)
        reply = self.frame()
        if not reply.get("ok"):
            raise RuntimeError(f"{request['type']}: {reply}")
        return reply

    def send(self, request: dict[str, Any]) -> None:
        """Send a request."""
        self.socket.sendall(client_frame(request))

    def stay(self) -> None:
        """Show life: nothing here answers the gateway's pings, which closes who is silent for two of them (50 s)."""
        self.send({"type": "ping", "id": 0})

    def frame(self) -> dict[str, Any]:
        """The next text frame; pings are passed over."""
        while True:
            opcode, payload = self._frame()
            if opcode == 0x1:
                decoded: dict[str, Any] = msgspec.json.decode(payload)
                return decoded
            if opcode != 0x9:
                raise RuntimeError(f"opcode {opcode}: {payload!r}")

    def close(self) -> None:
        """Go, without a word."""
        self.socket.close()

    def _frame(self) -> tuple[int, bytes]:
        first, size = self._exactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return first & 0xF, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        taken, _, self._held = self._held.partition(end)
        return taken

    def _more(self) -> None:
        got = self.socket.recv(65_536)
        if not got:
            raise RuntimeError("the gateway has closed the socket")
        self._held += got
        self.received += len(got)


class HasSocket(Protocol):
    """Whatever has a socket."""

    @property
    def socket(self) -> socket.socket:
        """It."""


class Drain:
    """Reads from many sockets and counts the bytes."""

    def __init__(self, clients: Sequence[HasSocket]) -> None:
        self._selector = selectors.EpollSelector()
        self._buffer = bytearray(1 << 20)
        for client in clients:
            client.socket.setblocking(False)
            self._selector.register(client.socket.fileno(), selectors.EVENT_READ)

    def take(self, size: int) -> None:
        """Read until so many bytes have come, on all sockets together.

        Raises:
            RuntimeError: they did not come in `WITHIN_S`, or more came, or a socket was closed.
        """
        deadline = time.monotonic() + WITHIN_S
        while size > 0:
            time.sleep(PAUSE_S)
            for key, _ in self._selector.select(0):
                got = os.readv(key.fd, [self._buffer])
                if not got:
                    raise RuntimeError("the gateway has closed a socket")
                size -= got
            if time.monotonic() > deadline:
                raise RuntimeError(f"{size} bytes did not come")
        if size < 0:
            raise RuntimeError(f"{-size} bytes too many came")
