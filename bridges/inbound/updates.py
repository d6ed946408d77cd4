"""What a message of the user service means: commands of an outside authority, or why it means nothing (protocol §8)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.domain import rules
from app.domain.commands import AddMember, Command, CreateGroup, DeleteGroup, MemberSpec, RemoveMember
from bridges import avro

Reason = Literal[
    "no headers",
    "undecodable headers",
    "no message_type",
    "unknown message_type",
    "bad body",
    "bad id",
    "raised",  # a bug of ours
]


@dataclass(frozen=True, slots=True)
class Update:
    """A message's commands, to be decided one right after the other, all of one group."""

    group: str
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is put aside; `detail` says more and quotes nothing of the body."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ids:
    """Where a message's commands get their ids from.

    `key`: the `client_msg_id` of all its commands; None where the publisher gave no `message_id`.
    """

    command: str
    key: str | None

    @classmethod
    def of(cls, *, message_id: str | None, message_type: str, body: bytes, delivery: str) -> "Ids":
        """The ids of a message; `delivery` names this one delivery of it, and no other for ever.

        The publisher's id alone would do if it were one a message. Where the messages of one creation share an id,
        all but the first would be refused as conflicts: so type and body are digested, too.
        """
        named = message_id.encode("utf-8", "surrogateescape") if message_id else None
        digest = hashlib.blake2b(digest_size=16)
        for part in (named if named is not None else delivery.encode(), message_type.encode(), body):
            digest.update(b"%d:" % len(part))
            digest.update(part)
        command = f"amqp-{digest.hexdigest()}"
        return cls(command, command if named is not None else None)


def read(
    headers: Mapping[str, Any] | None, body: bytes, *, message_id: str | None = None, delivery: str
) -> Update | Refused:
    """What a message with these headers and this body asks for."""
    if not headers:
        return Refused("no headers")
    if "message_type" not in headers:
        return Refused("no message_type")
    message_type = headers["message_type"]
    # Types before values: `True == 1`, and a byte array is no text even where it spells one.
    if not isinstance(message_type, str):
        return Refused("unknown message_type", f"it is no string: {type(message_type).__name__}")
    kind = _KINDS.get(message_type)
    if kind is None:
        return Refused("unknown message_type", f"{message_type[:64]!a}")
    record_name, user_field, commands_of = kind
    try:
        record = avro.decode(record_name, body)
    except avro.AvroError as bad:
        return Refused("bad body", f"{record_name}: {bad}")
    group = record["groupId"]["value"]
    user = record[user_field]["id"]["username"] if user_field else None
    for name, value in (("group", group), ("user", user)):
        if value is not None and (why := rules.bad_id(value)):
            return Refused("bad id", f"{name} {why}")
    ids = Ids.of(message_id=message_id, message_type=message_type, body=body, delivery=delivery)
    return Update(group, commands_of(ids, group, user))


def _joined(ids: Ids, group: str, user: str) -> tuple[Command, ...]:
    """Somebody is a member: of the group as it is, else of a new one that they own.

    Whichever of the two is possible happens, and the other is refused. Both have one key: a repetition finds the key
    used, by the same command (nothing happens) or by the other (a conflict: nothing happens either).
    """
    return (
        AddMember(id=f"{ids.command}-0", group=group, by=None, client_msg_id=ids.key, user=user),
        CreateGroup(
            id=f"{ids.command}-1",
            group=group,
            by=None,
            client_msg_id=ids.key,
            name=group,
            members=(MemberSpec(user),),
        ),
    )


def _removed(ids: Ids, group: str, user: str) -> tuple[Command, ...]:
    return (RemoveMember(id=f"{ids.command}-0", group=group, by=None, client_msg_id=ids.key, user=user),)


def _deleted(ids: Ids, group: str, _user: str) -> tuple[Command, ...]:
    return (DeleteGroup(id=f"{ids.command}-0", group=group, by=None, client_msg_id=ids.key),)


_Commands = Callable[[Ids, str, Any], tuple[Command, ...]]
# By message type: the Avro record, its field that has the user, and the commands.
_KINDS: dict[str, tuple[str, str | None, _Commands]] = {
    "GROUP_CREATED": ("GroupCreatedEvent", "createdBy", _joined),
    "MEMBER_ADDED": ("AddedMemberToGroupEvent", "addedMember", _joined),
    "MEMBER_REMOVED": ("RemovedMemberToGroupEvent", "removedMember", _removed),
    "GROUP_DELETED": ("GroupDeletedEvent", None, _deleted),
}
