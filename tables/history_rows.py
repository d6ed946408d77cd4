"""Row keys and codecs of the table `history`: events, and what became of messages since (docs/adr/012).

| key | payload |
|---|---|
| `<group> NUL e <seq>` | the event's bytes, redacted in place when its content is deleted |
| `<group> NUL d <seq> e <edit's seq>` | null: that event edited the message |
| `<group> NUL d <seq> r <emoji> NUL <reaction's seq>` | the user: who reacted, in the order of reacting |
| `<group> NUL u <seq> <emoji> NUL <user>` | the reaction's seq: whether a user has reacted |
| `<group> NUL k <block>` | `Marks` of the block's seqs |
| `NUL sweep <group>` | `through`: rows up to there are to be deleted (`sweep`) |

A seq and a block's number are 8 bytes, big endian. No row grows with the group or with the message.
"""

from typing import NamedTuple

import msgspec

from tables.rows import group_of, group_prefix

SWEEP_PREFIX = b"\x00sweep"
BLOCK_SEQS = 1024
NO_CONTENT = b'{"text":null,"deleted":true}'

_BITMAP_BYTES = BLOCK_SEQS // 8
_POSTED = b'"kind":"message.posted"'
_EDITED = b'"kind":"message.edited"'
_OF_MESSAGES = (b'"kind":"message.', b'"kind":"reaction.')


class Marks(NamedTuple):
    """Which events of a block are no messages, and which of those change the state: one bit a seq.

    A message sets none, so that a post has no row but its own; a block without a row is all messages.
    """

    others: int = 0
    changes: int = 0


class PostedData(msgspec.Struct, frozen=True):
    """The content of a message; `text` None and `deleted` where it was redacted."""

    text: str | None = None
    reply_to: int | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    deleted: bool = False


class Posted(msgspec.Struct, frozen=True):
    """A `message.posted` event as its row has it."""

    seq: int
    id: str
    by: str | None
    at: str
    data: PostedData
    client_msg_id: str | None = None


class EditedData(msgspec.Struct, frozen=True):
    """The text that an edit gave to the message `target`; without either where it was redacted."""

    text: str | None = None
    target: int | None = None


class Edited(msgspec.Struct, frozen=True):
    """A `message.edited` event as its row has it."""

    seq: int
    at: str
    data: EditedData


class _Data(msgspec.Struct, frozen=True):
    data: msgspec.Raw


_posted = msgspec.json.Decoder(Posted)
_edited = msgspec.json.Decoder(Edited)
_data = msgspec.json.Decoder(_Data)


def seq_bytes(seq: int) -> bytes:
    """A seq as keys have it, so that keys sort as seqs do."""
    return seq.to_bytes(8, "big")


def events_prefix(group: str) -> bytes:
    """What the keys of all events begin with; the seq follows."""
    return group_prefix(group) + b"e"


def details_prefix(group: str) -> bytes:
    """What the keys of all messages' details begin with; the message's seq follows."""
    return group_prefix(group) + b"d"


def detail_prefix(group: str, seq: int) -> bytes:
    """What the keys of one message's details begin with."""
    return details_prefix(group) + seq_bytes(seq)


def edit_key(group: str, seq: int, edit: int) -> bytes:
    """The key of an edit of the message `seq` by the event `edit`."""
    return detail_prefix(group, seq) + b"e" + seq_bytes(edit)


def edit_of(key: bytes) -> tuple[str, int] | None:
    """The group and the event of an edit's row; None for any other key."""
    group = group_of(key)
    if group is None:
        return None
    rest = key[len(group_prefix(group)) :]
    return (group, last_seq(key)) if len(rest) == 18 and rest[:1] == b"d" and rest[9:10] == b"e" else None


def reaction_key(group: str, seq: int, emoji: str, reaction: int) -> bytes:
    """The key of the reaction that the event `reaction` added to the message `seq`."""
    return detail_prefix(group, seq) + b"r" + emoji.encode() + b"\x00" + seq_bytes(reaction)


def reactors_prefix(group: str, seq: int | None = None) -> bytes:
    """What the keys of who reacted begin with, to any message or to one."""
    return group_prefix(group) + b"u" + (b"" if seq is None else seq_bytes(seq))


def reactor_key(group: str, seq: int, emoji: str, user: str) -> bytes:
    """The key that says whether `user` has reacted to the message `seq` with `emoji`."""
    return reactors_prefix(group, seq) + emoji.encode() + b"\x00" + user.encode()


def marks_prefix(group: str) -> bytes:
    """What the keys of all marks begin with; the block's number follows."""
    return group_prefix(group) + b"k"


def marks_key(group: str, block: int) -> bytes:
    """The key of the marks of the seqs from `block * BLOCK_SEQS` on."""
    return marks_prefix(group) + seq_bytes(block)


def sweep_key(group: str) -> bytes:
    """The key of a sweep that is not finished."""
    return SWEEP_PREFIX + group.encode()


def last_seq(key: bytes) -> int:
    """The seq that a key ends with."""
    return int.from_bytes(key[-8:], "big")


def encode_marks(marks: Marks) -> bytes:
    """Marks as a row's payload: both bitmaps, little endian."""
    return b"".join(bits.to_bytes(_BITMAP_BYTES, "little") for bits in marks)


def decode_marks(payload: bytes) -> Marks:
    """Marks from a row's payload."""
    return Marks(int.from_bytes(payload[:_BITMAP_BYTES], "little"), int.from_bytes(payload[_BITMAP_BYTES:], "little"))


def is_message(value: bytes) -> bool:
    """Whether an event's bytes are those of a message: seen without decoding, as a quote in a text is escaped."""
    return _POSTED in value


def is_edit(value: bytes) -> bool:
    """As `is_message`, of an edit."""
    return _EDITED in value


def changes_state(value: bytes) -> bool:
    """Whether an event changes the group's state: neither a message nor what becomes of one."""
    return not any(kind in value for kind in _OF_MESSAGES)


def decode_posted(value: bytes) -> Posted:
    """A message from its row; redacted or not."""
    return _posted.decode(value)


def decode_edited(value: bytes) -> Edited:
    """An edit from its row; redacted or not."""
    return _edited.decode(value)


def redact(value: bytes) -> bytes:
    """An event's bytes without its content; every other byte stays (protocol §4, §9)."""
    data = bytes(_data.decode(value).data)
    start = value.rindex(data)  # `data` is an event's last field, so this is it and no equal text before it
    return value[:start] + NO_CONTENT + value[start + len(data) :]
