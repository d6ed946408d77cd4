"""Commands: what somebody asks of a group. One class a request type, in the imperative.

Their JSON is the value of `chat.group.commands.v1`. Field rules (lengths, characters) are in
`rules.check`; the shape is checked when the JSON is decoded.
"""

from typing import Any, Literal

import msgspec

Role = Literal["reader", "member", "admin", "owner"]
JoinRule = Literal["open", "invite"]
HistoryRule = Literal["all", "joined"]


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """What every command carries.

    `id` is made by the door that took the request, and names it in the event's headers and in
    replies. `by` is the user, or None for an outside authority. `origin` is the gateway that
    waits for the outcome ("" when nobody does).
    """

    id: str
    group: str
    by: str | None
    origin: str = ""
    client_msg_id: str | None = None


class MemberSpec(msgspec.Struct, frozen=True):
    """A member named at creation, and the role to start with."""

    user: str
    role: Role = "member"


class CreateGroup(Command, frozen=True, tag="create_group"):
    """Begin a life of the group; the caller becomes its owner."""

    name: str
    topic: str = ""
    join: JoinRule = "invite"
    history: HistoryRule = "all"
    members: tuple[MemberSpec, ...] = ()


class UpdateGroup(Command, frozen=True, tag="update_group"):
    """Change what is given of the group's settings."""

    name: str | None = None
    topic: str | None = None
    join: JoinRule | None = None
    history: HistoryRule | None = None


class DeleteGroup(Command, frozen=True, tag="delete_group"):
    """End this life of the group."""


class Join(Command, frozen=True, tag="join"):
    """Become a member of an open group."""


class Leave(Command, frozen=True, tag="leave"):
    """Stop being a member."""


class AddMember(Command, frozen=True, tag="add_member"):
    """Make somebody a member."""

    user: str
    role: Role = "member"


class RemoveMember(Command, frozen=True, tag="remove_member"):
    """End somebody's membership, and keep them out if `ban`."""

    user: str
    ban: bool = False


class Unban(Command, frozen=True, tag="unban"):
    """Let somebody in again."""

    user: str


class SetRole(Command, frozen=True, tag="set_role"):
    """Give a member another role; `owner` transfers the ownership."""

    user: str
    role: Role


class Send(Command, frozen=True, tag="send"):
    """Post a message. `reply_to` is the seq of a message of this life."""

    client_msg_id: str
    text: str
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attributes: dict[str, Any] | None = None


class Edit(Command, frozen=True, tag="edit"):
    """Replace the text of the message `seq`."""

    seq: int
    text: str


class Delete(Command, frozen=True, tag="delete"):
    """Take back the content of the message `seq`."""

    seq: int


class React(Command, frozen=True, tag="react"):
    """Add the caller's `emoji` to the message `seq`."""

    seq: int
    emoji: str


class Unreact(Command, frozen=True, tag="unreact"):
    """Take the caller's `emoji` from the message `seq`."""

    seq: int
    emoji: str


class PruneHistory(Command, frozen=True, tag="prune_history"):
    """Serve no message up to the seq `through` any more. No request of a client: retention is an authority's."""

    through: int


AnyCommand = (
    CreateGroup
    | UpdateGroup
    | DeleteGroup
    | Join
    | Leave
    | AddMember
    | RemoveMember
    | Unban
    | SetRole
    | Send
    | Edit
    | Delete
    | React
    | Unreact
    | PruneHistory
)

# What a client may ask, by the request's type.
COMMANDS: dict[str, type[Command]] = {
    "create_group": CreateGroup,
    "update_group": UpdateGroup,
    "delete_group": DeleteGroup,
    "join": Join,
    "leave": Leave,
    "add_member": AddMember,
    "remove_member": RemoveMember,
    "unban": Unban,
    "set_role": SetRole,
    "send": Send,
    "edit": Edit,
    "delete": Delete,
    "react": React,
    "unreact": Unreact,
}

_one: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_many = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()


def encode_command(command: Command) -> bytes:
    """The command's JSON."""
    return _encoder.encode(command)


def decode_command(raw: bytes | msgspec.Raw) -> AnyCommand:
    """One command from its JSON.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError: not JSON, or not a command's shape.
        UnicodeDecodeError: not UTF-8.
    """
    try:
        return _one.decode(raw)
    except RecursionError as deep:
        raise msgspec.DecodeError("nested too deeply") from deep


def split_array(value: bytes) -> list[bytes | msgspec.Raw]:
    """The elements of a record: the record itself, or the items of its array, each still encoded.

    Splitting comes before decoding so that one bad element is a dead letter alone.

    Raises:
        As `decode_command`, for an array that does not end, say.
    """
    if value[:1] != b"[":
        return [value]
    try:
        return list(_many.decode(value))
    except RecursionError as deep:
        raise msgspec.DecodeError("nested too deeply") from deep


def message_of(command: AnyCommand) -> int | None:
    """The seq of the message that `command` refers to, None if it refers to none."""
    match command:
        case Send():
            return command.reply_to
        case Edit() | Delete() | React() | Unreact():
            return command.seq
        case _:
            return None


def reaction_of(command: AnyCommand) -> tuple[str, str] | None:
    """The reaction that `command` adds or takes, as (user, emoji)."""
    if isinstance(command, React | Unreact) and command.by is not None:
        return command.by, command.emoji
    return None
