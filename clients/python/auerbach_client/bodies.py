"""What an event says, typed: one class a kind (protocol §3), and `Unknown` for newer kinds."""

from typing import Any, Literal

import msgspec

Role = Literal["reader", "member", "admin", "owner"]


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body ignores fields that it does not know."""


class Named(_Body, frozen=True):
    """A member as `group.created` names it."""

    user: str
    role: str


class GroupCreated(_Body, frozen=True):
    """A life of the group began; `members` has the creator first, as owner. `join`: `open` or `invite`."""

    name: str
    topic: str = ""
    join: str = "invite"
    history: str = "all"
    members: tuple[Named, ...] = ()


class GroupUpdated(_Body, frozen=True):
    """Settings changed: those that are not None."""

    name: str | None = None
    topic: str | None = None
    join: str | None = None
    history: str | None = None


class GroupDeleted(_Body, frozen=True):
    """The group's life ended."""


class MemberJoined(_Body, frozen=True):
    """`user` became a member, by the own wish or by `Event.by`."""

    user: str
    role: str


class MemberLeft(_Body, frozen=True):
    """`user` went."""

    user: str


class MemberRemoved(_Body, frozen=True):
    """`user` was removed, or banned ahead. `owner`: the next one, where an outside authority removed the last."""

    user: str
    banned: bool = False
    owner: str | None = None


class MemberUnbanned(_Body, frozen=True):
    """`user` may come again."""

    user: str


class RoleChanged(_Body, frozen=True):
    """`user` is now `role`; on a transfer of ownership `previous` is who was the owner, and is an admin now."""

    user: str
    role: str
    previous: str | None = msgspec.field(default=None, name="from")


class MessagePosted(_Body, frozen=True):
    """A message; its seq is the event's. `text` is None where it was deleted since (`deleted`)."""

    text: str | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attributes: dict[str, Any] | None = None
    deleted: bool = False


class MessageEdited(_Body, frozen=True):
    """The message `target` (a seq) has another text; both are None where the message was deleted since."""

    target: int | None = None
    text: str | None = None
    deleted: bool = False


class MessageDeleted(_Body, frozen=True):
    """The content of the message `target` (a seq) is gone."""

    target: int


class ReactionAdded(_Body, frozen=True):
    """`Event.by` reacts to the message `target` (a seq) with `emoji`."""

    target: int
    emoji: str


class ReactionRemoved(_Body, frozen=True):
    """`Event.by` takes the reaction `emoji` from the message `target` (a seq)."""

    target: int
    emoji: str


class HistoryPruned(_Body, frozen=True):
    """Messages up to the seq `through` are no longer served."""

    through: int


class Unknown(_Body, frozen=True):
    """A kind of event, or a body, that this version does not know: show nothing, its seq counts all the same."""

    data: dict[str, Any]


Body = (
    GroupCreated
    | GroupUpdated
    | GroupDeleted
    | MemberJoined
    | MemberLeft
    | MemberRemoved
    | MemberUnbanned
    | RoleChanged
    | MessagePosted
    | MessageEdited
    | MessageDeleted
    | ReactionAdded
    | ReactionRemoved
    | HistoryPruned
    | Unknown
)

_bodies: dict[str, type[Body]] = {
    "group.created": GroupCreated,
    "group.updated": GroupUpdated,
    "group.deleted": GroupDeleted,
    "member.joined": MemberJoined,
    "member.left": MemberLeft,
    "member.removed": MemberRemoved,
    "member.unbanned": MemberUnbanned,
    "member.role_changed": RoleChanged,
    "message.posted": MessagePosted,
    "message.edited": MessageEdited,
    "message.deleted": MessageDeleted,
    "reaction.added": ReactionAdded,
    "reaction.removed": ReactionRemoved,
    "history.pruned": HistoryPruned,
}


def body_of(kind: str, data: dict[str, Any]) -> Body:
    """The typed body of an event; never raises."""
    known = _bodies.get(kind)
    if known is None:
        return Unknown(data=data)
    try:
        body: Body = msgspec.convert(data, known)
    except msgspec.ValidationError:
        return Unknown(data=data)
    return body
