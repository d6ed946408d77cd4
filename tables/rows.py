"""Row keys and codecs. Every row carries the epoch of the owner that wrote it (rule F3).

A group's keys begin with its id and a NUL, which no id may contain, so a group is one range of keys:

| table | key | payload |
|---|---|---|
| groups | `<group> NUL h` | `Head` |
| groups | `<group> NUL m <user>` | [role, joined, place] |
| groups | `<group> NUL b <user>` | null: banned |
| groups | `<group> NUL r <seq, 8 bytes>` | the history rule from that seq on |
| groups | `<group> NUL p <user> NUL <from, 8 bytes>` | through: an ended membership |
| groups | `<group> NUL s <user> NUL <client_msg_id>` | `SentRow` |
| history | `<group> NUL e <seq, 8 bytes>` | the event's bytes |
| both | `NUL position` | `Position` |
| both | `NUL claim <epoch, 8 bytes>` | the owner's name |

A value is the epoch (8 bytes, big endian, signed) followed by the payload, JSON unless said otherwise.
"""

import msgspec

from app.log.records import CommandPlace

POSITION_KEY = b"\x00position"
CLAIM_PREFIX = b"\x00claim"
STALE_PREFIX = b"\x00stale"
EPOCH_BYTES = 8


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far a table's rows reach.

    `event_offset` is the next event to fold, `epoch` the claim in force there (a bare offset would believe a fenced
    owner's records, model.md H3). `(command_offset, command_index)` is the last command decided, of the commands
    topic `command_topic_id`.
    """

    event_offset: int
    epoch: int
    command_topic_id: str
    command_offset: int
    command_index: int

    @property
    def place(self) -> CommandPlace:
        """The last command decided."""
        return CommandPlace(self.command_offset, self.command_index)


_encode = msgspec.json.encode
_position = msgspec.json.Decoder(Position)


def value(epoch: int, payload: bytes) -> bytes:
    """A row's value."""
    return stamp(epoch) + payload


def epoch_of(row: bytes) -> int:
    """The epoch of the owner that wrote `row`."""
    return int.from_bytes(row[:EPOCH_BYTES], "big", signed=True)


def payload_of(row: bytes) -> bytes:
    """What `row` says, without the epoch."""
    return row[EPOCH_BYTES:]


def group_prefix(group: str) -> bytes:
    """What all keys of `group` begin with."""
    return group.encode() + b"\x00"


def group_of(key: bytes) -> str | None:
    """The group whose row `key` names; None for a row of the table itself."""
    return None if key[:1] == b"\x00" else key[: key.index(b"\x00")].decode()


def head_key(group: str) -> bytes:
    """The key of a group's `head`."""
    return group_prefix(group) + b"h"


def claim_key(epoch: int) -> bytes:
    """The key of an owner's changelog claim: one of its own per epoch, so that compaction keeps them all."""
    return CLAIM_PREFIX + epoch.to_bytes(EPOCH_BYTES, "big")


def event_key(group: str, seq: int) -> bytes:
    """The key of an event's row."""
    return group_prefix(group) + b"e" + seq_bytes(seq)


def stale_key(group: str) -> bytes:
    """The key of a mark that `group` must be rebuilt from the log; in the store only, never in the changelog."""
    return STALE_PREFIX + group.encode()


def encode_position(position: Position, epoch: int) -> bytes:
    """The value of a position row that the owner `epoch` writes."""
    return value(epoch, _encode(position))


def decode_position(row: bytes) -> Position:
    """A position row."""
    return _position.decode(payload_of(row))


def seq_bytes(seq: int) -> bytes:
    """A seq in keys: in the order of numbers."""
    return seq.to_bytes(8, "big")


def stamp(epoch: int) -> bytes:
    """What a row of the owner `epoch` begins with."""
    return epoch.to_bytes(EPOCH_BYTES, "big", signed=True)
