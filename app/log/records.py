"""Records of `chat.group.events.v1`: events with their headers, and the claims that fence them.

Header values are text in UTF-8. `command_topic_id`, `command_offset` and `command_index` name the command
that an event came from; they are how a new owner knows what was decided already (design §4).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from app.domain.events import Event

Headers = list[tuple[str, bytes]]

CLAIM_KIND = b"claim"


class RecordError(Exception):
    """A record of the events topic that is neither an event nor a claim."""


class CommandPlace(msgspec.Struct, frozen=True, order=True):
    """Where a command stands in its partition: the record's offset, and its place in the record's array."""

    offset: int
    index: int


NOWHERE = CommandPlace(-1, -1)


class EventRecord(msgspec.Struct, frozen=True):
    """An event as it stands in the log, still encoded; `value` is exactly the client's frame."""

    offset: int
    epoch: int
    group: str
    seq: int
    kind: str
    command_id: str
    command_topic_id: str
    place: CommandPlace
    value: bytes
    request: str = ""  # the digest of what was asked (`idempotency`); "" where no `client_msg_id` came with it


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="claim"):
    """What a new owner says of itself: the log it writes to, and who it is. Its own offset is its epoch."""

    log: str
    worker: str
    at: str


@dataclass(slots=True, frozen=True)
class ClaimRecord:
    """A claim as it stands in the log: from `offset` on, records of a lower epoch are void."""

    offset: int
    claim: Claim


def event_headers(
    event: Event, *, epoch: int, command_id: str, topic_id: str, place: CommandPlace, request: str = ""
) -> Headers:
    """The headers of an event's record, CloudEvents' in binary mode among them."""
    headers = [
        ("seq", b"%d" % event.seq),
        ("epoch", b"%d" % epoch),
        ("kind", event.kind.encode()),
        ("command_id", command_id.encode()),
        ("command_topic_id", topic_id.encode()),
        ("command_offset", b"%d" % place.offset),
        ("command_index", b"%d" % place.index),
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_type", b"chat." + event.kind.encode()),
        ("ce_source", b"/auerbach/groups"),
        ("ce_time", event.at.encode()),
        ("content-type", b"application/json"),
    ]
    if request:
        headers.append(("request", request.encode()))
    return headers


def claim_headers() -> Headers:
    """The headers of a claim's record."""
    return [("kind", CLAIM_KIND), ("content-type", b"application/json")]


_claim = msgspec.json.Decoder(Claim)


def encode_claim(claim: Claim) -> bytes:
    """The value of a claim's record."""
    return msgspec.json.encode(claim)


def decode_record(
    *, offset: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] | None
) -> EventRecord | ClaimRecord:
    """A raw record as what it is.

    Raises:
        RecordError: it is neither an event nor a claim; the message says why.
    """
    named = dict(headers or ())
    if value is None:
        raise RecordError(f"offset {offset}: no value")
    try:
        if named.get("kind") == CLAIM_KIND:
            return ClaimRecord(offset, _claim.decode(value))
        if key is None:
            raise RecordError(f"offset {offset}: an event without a key")
        return EventRecord(
            offset=offset,
            epoch=int(named["epoch"]),  # type: ignore[arg-type]
            group=key.decode(),
            seq=int(named["seq"]),  # type: ignore[arg-type]
            kind=named["kind"].decode(),  # type: ignore[union-attr]
            command_id=named["command_id"].decode(),  # type: ignore[union-attr]
            command_topic_id=named["command_topic_id"].decode(),  # type: ignore[union-attr]
            place=CommandPlace(int(named["command_offset"]), int(named["command_index"])),  # type: ignore[arg-type]
            value=value,
            request=(named.get("request") or b"").decode(),
        )
    except (KeyError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as bad:
        raise RecordError(f"offset {offset}: {bad!r}") from bad
