"""Frames of the server, decoded. Unknown fields and types are ignored, as the protocol asks of clients."""

from dataclasses import dataclass
from typing import Any

import msgspec

from auerbach_client.answers import GroupState
from auerbach_client.bodies import Body, body_of


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted change of a group (protocol §3).

    `raw` is the frame as it came: the same bytes for every reader, at every gateway, for ever, unless content was
    deleted since. `at` is RFC 3339 in UTC; `by` is None where an outside authority acted. `data` is what came;
    `body` is the same, typed. Expect kinds that you do not know.
    """

    group: str
    seq: int
    id: str
    kind: str
    by: str | None
    at: str
    client_msg_id: str | None
    data: dict[str, Any]
    raw: bytes

    @property
    def body(self) -> Body:
        """What the event says, for `match`; `Unknown` where this version does not know the kind."""
        return body_of(self.kind, self.data)


@dataclass(frozen=True, slots=True)
class Reset:
    """In a subscription: what you hold of `group` is void, drop it. The run goes on with seq `start` (protocol §4).

    The log was lost or put back, the group began a new life, or what you missed is no longer kept.
    """

    group: str
    start: int


class Limits(msgspec.Struct, frozen=True):
    """What the server accepts: bytes of a frame and of a text, groups that one socket follows, requests a second."""

    frame_bytes: int = 65_536
    requests_per_second: float = 50
    text_bytes: int = 16_384
    groups: int = 1000


class Hello(msgspec.Struct, frozen=True):
    """The server's first frame. `log` names the log's incarnation; it pings every `heartbeat_ms`."""

    session: str
    log: str
    user: str
    limits: Limits = Limits()
    heartbeat_ms: float = 25_000


class Withheld(msgspec.Struct, frozen=True):
    """In a subscription: the events from seq `start` to `through`, which this user may not read (protocol §4)."""

    group: str
    start: int = msgspec.field(name="from")
    through: int = 0


class Presence(msgspec.Struct, frozen=True):
    """Who came and went in `group` (protocol §5): a signal, which may be dropped, and not repeated."""

    group: str
    kind: str
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to `subscribe` (protocol §4): events from seq `start` on follow; the group's last one is `seq`."""

    seq: int
    start: int = msgspec.field(name="from")
    recovered: bool = True
    state: GroupState | None = None


class Bye(msgspec.Struct, frozen=True):
    """The gateway drains: connect again after so long."""

    reconnect_after_ms: float = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to the request `id`, with all its fields."""

    id: Any
    ok: bool
    fields: dict[str, Any]


class _EventFrame(msgspec.Struct, frozen=True):
    group: str
    seq: int
    id: str
    kind: str
    by: str | None
    at: str
    client_msg_id: str | None = None
    data: dict[str, Any] = {}


class _Head(msgspec.Struct, frozen=True):
    type: str
    kind: Any = None


Frame = Event | Reply | Withheld | Presence | Bye | Hello

_head = msgspec.json.Decoder(_Head)
_event = msgspec.json.Decoder(_EventFrame)
_others: dict[str, msgspec.json.Decoder[Withheld | Bye | Hello]] = {
    "withheld": msgspec.json.Decoder(Withheld),
    "bye": msgspec.json.Decoder(Bye),
    "hello": msgspec.json.Decoder(Hello),
}
_presence = msgspec.json.Decoder(Presence)
_fields = msgspec.json.Decoder(dict[str, Any])


def decode(raw: bytes) -> Frame | None:
    """A frame, or None for a type, or a kind of signal, that this version does not know.

    Raises:
        msgspec.MsgspecError: not a frame of this protocol.
    """
    head = _head.decode(raw)
    kind = head.type
    if kind == "event":
        e = _event.decode(raw)
        return Event(e.group, e.seq, e.id, e.kind, e.by, e.at, e.client_msg_id, e.data, raw)
    if kind == "reply":
        fields = _fields.decode(raw)
        return Reply(fields.get("id"), fields.get("ok") is True, fields)
    if kind == "signal":
        return _presence.decode(raw) if head.kind == "presence" else None
    other = _others.get(kind)
    return None if other is None else other.decode(raw)


def encode(fields: dict[str, Any]) -> bytes:
    """A request's JSON."""
    return msgspec.json.encode(fields)
