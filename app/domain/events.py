"""Events: what has happened to a group, in the past tense. One class a kind.

An event's JSON (`encode_event`) is encoded once: it is the Kafka value, the WebSocket text frame and
the AMQP body (design I6), so field order and spelling here are what every client sees.
"""

import typing
from typing import Any, ClassVar

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is particular to a kind of event; `kind` is its name in the protocol."""

    kind: ClassVar[str] = ""


class NewMember(msgspec.Struct, frozen=True):
    """A member of a new group."""

    user: str
    role: Role


class GroupCreated(Data, frozen=True):
    """A life of the group began. `members`: the creator first, as owner."""

    kind: ClassVar[str] = "group.created"
    name: str
    topic: str
    join: JoinRule
    history: HistoryRule
    members: tuple[NewMember, ...]


class GroupUpdated(Data, frozen=True):
    """Settings of the group changed: those that are there."""

    kind: ClassVar[str] = "group.updated"
    name: str | None = None
    topic: str | None = None
    join: JoinRule | None = None
    history: HistoryRule | None = None


class GroupDeleted(Data, frozen=True):
    """This life of the group is over."""

    kind: ClassVar[str] = "group.deleted"


class MemberJoined(Data, frozen=True):
    """`user` is a member now."""

    kind: ClassVar[str] = "member.joined"
    user: str
    role: Role


class MemberLeft(Data, frozen=True):
    """`user` left of their own will."""

    kind: ClassVar[str] = "member.left"
    user: str


class MemberRemoved(Data, frozen=True):
    """`user` is a member no longer; `owner` names the next owner where an authority removed the last one."""

    kind: ClassVar[str] = "member.removed"
    user: str
    banned: bool
    owner: str | None = None


class MemberUnbanned(Data, frozen=True):
    """`user` may come in again."""

    kind: ClassVar[str] = "member.unbanned"
    user: str


class MemberRoleChanged(Data, frozen=True):
    """`user` has another role. On a transfer of ownership `former` (`from` in JSON) was the owner, and is an admin."""

    kind: ClassVar[str] = "member.role_changed"
    user: str
    role: Role
    former: str | None = msgspec.field(default=None, name="from")


class MessagePosted(Data, frozen=True):
    """A message. Absent options are left out. `text` is null, and `deleted` true, where it was redacted since."""

    kind: ClassVar[str] = "message.posted"
    text: str | None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attributes: dict[str, Any] | None = None
    deleted: bool = False


class MessageEdited(Data, frozen=True, kw_only=True):
    """The message `target` has another text. Redacted as its message is: then without `target`, which is 0 here."""

    kind: ClassVar[str] = "message.edited"
    target: int = 0
    text: str | None
    deleted: bool = False


class MessageDeleted(Data, frozen=True):
    """The message `target` has no content any more."""

    kind: ClassVar[str] = "message.deleted"
    target: int


class ReactionAdded(Data, frozen=True):
    """The event's author reacted to the message `target`."""

    kind: ClassVar[str] = "reaction.added"
    target: int
    emoji: str


class ReactionRemoved(Data, frozen=True):
    """The event's author took back a reaction to the message `target`."""

    kind: ClassVar[str] = "reaction.removed"
    target: int
    emoji: str


class HistoryPruned(Data, frozen=True):
    """Messages up to the seq `through` are no longer served (retention)."""

    kind: ClassVar[str] = "history.pruned"
    through: int


AnyData = (
    GroupCreated
    | GroupUpdated
    | GroupDeleted
    | MemberJoined
    | MemberLeft
    | MemberRemoved
    | MemberUnbanned
    | MemberRoleChanged
    | MessagePosted
    | MessageEdited
    | MessageDeleted
    | ReactionAdded
    | ReactionRemoved
    | HistoryPruned
)

KINDS: dict[str, type[Data]] = {data.kind: data for data in typing.get_args(AnyData)}


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="event"):
    """One accepted change of a group. `at` is RFC 3339 in UTC with milliseconds."""

    group: str
    seq: int
    id: str
    kind: str
    by: str | None
    at: str
    client_msg_id: str | None = None
    data: AnyData


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="event"):
    group: str
    seq: int
    id: str
    kind: str
    by: str | None
    at: str
    client_msg_id: str | None = None
    data: msgspec.Raw


class UnknownKindError(Exception):
    """The log holds a kind of event this version does not know: it must not fold on (design I2)."""


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)
_data = {kind: msgspec.json.Decoder(data) for kind, data in KINDS.items()}


def encode_event(event: Event) -> bytes:
    """The event's JSON, exactly the client's frame."""
    return _encoder.encode(event)


def decode_event(value: bytes) -> Event:
    """An event from its JSON.

    Raises:
        UnknownKindError: a kind of a newer version.
        msgspec.DecodeError, msgspec.ValidationError: not an event.
    """
    e = _envelope.decode(value)
    decoder = _data.get(e.kind)
    if decoder is None:
        raise UnknownKindError(e.kind)
    return Event(
        group=e.group,
        seq=e.seq,
        id=e.id,
        kind=e.kind,
        by=e.by,
        at=e.at,
        client_msg_id=e.client_msg_id,
        data=decoder.decode(e.data),  # type: ignore[arg-type]
    )
