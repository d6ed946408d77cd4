"""A publisher that writes AMQP 0-9-1 frames by hand: what client libraries refuse to send, RabbitMQ may still take."""

import socket
import struct
from collections.abc import Sequence

from pamqp import commands, frame, header

_HEADERS = 1 << 13  # the flag of the property `headers` (AMQP 0-9-1 §2.3.5.2, and the order of basic's properties)
_AT_ONCE = 500
_FRAME_BYTES = 100_000  # of a body; RabbitMQ's frames have 128 KiB
_PERSISTENT = 1 << 12
_MESSAGE_ID = 1 << 7
ACCEPTED, REFUSED = "accepted", "refused"
_WITHIN_S = 120  # against hanging


def table(*entries: bytes) -> bytes:
    """A field table of entries that are encoded already."""
    body = b"".join(entries)
    return struct.pack(">I", len(body)) + body


def entry(key: bytes, kind: bytes, value: bytes) -> bytes:
    """One entry of a table: the key's bytes, the type's letter, the value's bytes."""
    return bytes([len(key)]) + key + kind + value


def text(value: bytes) -> bytes:
    """A long string's value."""
    return struct.pack(">I", len(value)) + value


def message_type(name: str) -> bytes:
    """The header that every message of the user service has."""
    return entry(b"message_type", b"S", text(name.encode()))


def properties(headers: bytes, *, persistent: bool = False, message_id: bytes | None = None) -> tuple[int, bytes]:
    """Flags and bytes of these properties, in the protocol's order."""
    flags, encoded = _HEADERS, headers
    if persistent:
        flags, encoded = flags | _PERSISTENT, encoded + b"\x02"
    if message_id is not None:
        flags, encoded = flags | _MESSAGE_ID, encoded + bytes([len(message_id)]) + message_id
    return flags, encoded


class RawPublisher:
    """One connection with one channel in confirm mode."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _WITHIN_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each frame waits 40 ms for an ACK
        self._buffer = b""
        self._published = self._acknowledged = 0
        self._socket.sendall(header.ProtocolHeader().marshal())
        self._next()
        self._send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"))
        tune = self._next()
        assert isinstance(tune, commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(0, commands.Connection.Open("/"))
        self._next()
        for method in (commands.Channel.Open(), commands.Confirm.Select()):
            self._send(1, method)
            self._next()

    def publish(
        self,
        body: bytes,
        headers: bytes | None,
        *,
        exchange: str = "",
        routing_key: bytes = b"",
        properties: tuple[int, bytes] | None = None,
    ) -> str:
        """Publish, and say whether RabbitMQ took it.

        `headers`: the encoded table. `properties`: flags and bytes of all properties instead.
        """
        flags, encoded = properties or ((0, b"") if headers is None else (_HEADERS, headers))
        self._socket.sendall(_message(body, flags, encoded, exchange, routing_key))
        return ACCEPTED if isinstance(self._next(), commands.Basic.Ack) else REFUSED

    def publish_all(self, messages: Sequence[tuple[bytes, bytes]], *, queue: str) -> None:
        """Put messages (body, encoded headers) into a queue, hundreds at a time, until RabbitMQ has them all.

        Raises:
            ConnectionError: RabbitMQ closed the connection.
        """
        key = queue.encode()
        for start in range(0, len(messages), _AT_ONCE):
            chunk = messages[start : start + _AT_ONCE]
            last = self._published + len(chunk)
            self._socket.sendall(b"".join(_message(body, _HEADERS, headers, "", key) for body, headers in chunk))
            while self._acknowledged < last:
                if not isinstance(answer := self._next(), commands.Basic.Ack):
                    raise ConnectionError(f"RabbitMQ answered {answer!r}")
                self._acknowledged = answer.delivery_tag or 0
            self._published = last

    def close(self) -> None:
        """Cut the connection."""
        self._socket.close()

    def _send(self, channel: int, method: frame.FrameTypes) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _next(self) -> frame.FrameTypes | None:
        """The next method that RabbitMQ sends; None if it closed the connection."""
        while True:
            if len(self._buffer) >= 7:
                size = struct.unpack(">I", self._buffer[3:7])[0] + 8
                if len(self._buffer) >= size:
                    raw, self._buffer = self._buffer[:size], self._buffer[size:]
                    return frame.unmarshal(raw)[2]
            more = self._socket.recv(65_536)
            if not more:
                return None
            self._buffer += more


def _message(body: bytes, flags: int, encoded: bytes, exchange: str, routing_key: bytes) -> bytes:
    """The frames of a `basic.publish`."""
    names = bytes([len(exchange)]) + exchange.encode() + bytes([len(routing_key)]) + routing_key
    return b"".join(
        [
            _frame(1, struct.pack(">HHH", 60, 40, 0) + names + b"\0"),
            _frame(2, struct.pack(">HHQH", 60, 0, len(body), flags) + encoded),
            *(_frame(3, body[start : start + _FRAME_BYTES]) for start in range(0, len(body), _FRAME_BYTES)),
        ]
    )


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"
