"""Row keys and codecs. Every row carries the epoch of the owner that wrote it (rule F3).

A group's keys begin with its id and a NUL, which no id may contain, so a group is one range of keys:

| table | key | payload |
|---|---|---|
| groups | `<group> NUL h` | `Head` |
| groups | `<group> NUL m <user>` | [role, joined, place] |
| groups | `<group> NUL b <user>` | null: banned |
| groups | `<group> NUL r <seq, 8 bytes>` | the history rule from that seq on |
| groups | `<group> NUL p <user> NUL <from, 8 bytes>` | through: an ended membership |
| groups | `<group> NUL s <user> NUL <client_msg_id>` | [seq, at_ms, digest] |
| history | `<group> NUL e <seq, 8 bytes>` | the event's bytes |
| both | `NUL position` | `Position` |
| both | `NUL claim <epoch, 8 bytes>` | the owner's name |

A value is the epoch (8 bytes, big endian, signed) followed by the payload, JSON unless said otherwise.
"""

from collections.abc import Collection, Iterator
from typing import Literal

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role
from app.domain.state import Group, Member, Part, Sent
from app.log.records import CommandPlace

POSITION_KEY = b"\x00position"
CLAIM_PREFIX = b"\x00claim"
STALE_PREFIX = b"\x00stale"
EPOCH_BYTES = 8


class Head(msgspec.Struct, frozen=True, array_like=True):
    """A group's row that every event changes; kept small."""

    seq: int
    first: int
    life: Literal["none", "alive", "deleted"]
    at_ms: int
    name: str
    topic: str
    join: JoinRule
    rules: list[tuple[int, HistoryRule]] = []  # in rows of before each rule had one of its own
    pruned: int = 0
    rows: int = 0  # how many the group has, so that a large one is loaded in slices


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


_ARISEN = frozenset({"rule", "past"})

_encode = msgspec.json.encode
_head = msgspec.json.Decoder(Head)
_member = msgspec.json.Decoder(tuple[Role, int, int])
_past = msgspec.json.Decoder(int | list[tuple[int, int]])  # the list: a row of before each span had one of its own
_rule = msgspec.json.Decoder(HistoryRule)
_sent = msgspec.json.Decoder(tuple[int, int, str])
_position = msgspec.json.Decoder(Position)


def value(epoch: int, payload: bytes) -> bytes:
    """A row's value."""
    return epoch.to_bytes(EPOCH_BYTES, "big", signed=True) + payload


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
    return group_prefix(group) + b"e" + _seq(seq)


def stale_key(group: str) -> bytes:
    """The key of a mark that `group` must be rebuilt from the log; in the store only, never in the changelog."""
    return STALE_PREFIX + group.encode()


def encode_position(position: Position, epoch: int) -> bytes:
    """The value of a position row that the owner `epoch` writes."""
    return value(epoch, _encode(position))


def decode_position(row: bytes) -> Position:
    """A position row."""
    return _position.decode(payload_of(row))


def part_rows(group: Group, parts: Collection[Part], epoch: int) -> Iterator[tuple[bytes, bytes | None]]:
    """The rows of the named parts of `group`, None for a part that is gone; `head` last (model.md H10).

    Rules and ended memberships come first, as they arose: where a crash cuts a flush, a membership whose row is gone or
    newer has left its end behind, and the fold from the old head makes the same state.
    """
    prefix = group_prefix(group.id)
    for part in _ordered(parts):
        match part:
            case ("sent", user, client_msg_id):
                s = group.sent.get((user, client_msg_id))
                payload = None if s is None else _encode((s.seq, s.at_ms, s.digest))
                yield prefix + b"s" + user.encode() + b"\x00" + client_msg_id.encode(), _maybe(epoch, payload)
            case ("head",):
                pass
            case ("member", user):
                m = group.members.get(user)
                payload = None if m is None else _encode((m.role, m.joined, m.place))
                yield prefix + b"m" + user.encode(), _maybe(epoch, payload)
            case ("ban", user):
                yield prefix + b"b" + user.encode(), _maybe(epoch, b"null" if user in group.banned else None)
            case ("rule", seq):
                rule = next((rule for since, rule in group.rules if since == int(seq)), None)
                yield prefix + b"r" + _seq(int(seq)), _maybe(epoch, None if rule is None else _encode(rule))
            case ("past", user, since):
                through = next((t for s, t in group.past.get(user, ()) if s == int(since)), None)
                key = prefix + b"p" + user.encode() + b"\x00" + _seq(int(since))
                yield key, _maybe(epoch, None if through is None else b"%d" % through)
            case _:
                raise AssertionError(f"no row for {part}")
    head = Head(
        group.seq,
        group.first,
        group.life,
        group.at_ms,
        group.name,
        group.topic,
        group.join,
        pruned=group.pruned,
        rows=count(group),
    )
    yield prefix + b"h", value(epoch, _encode(head))


def _ordered(parts: Collection[Part]) -> Collection[Part]:
    for part in parts:
        if part[0] in _ARISEN:
            break
    else:
        return parts  # messages only, as mostly
    first = [part for part in parts if part[0] in _ARISEN]
    rest = [part for part in parts if part[0] not in _ARISEN]
    return [*sorted(first, key=lambda part: int(part[-1])), *rest]


def count(group: Group) -> int:
    """About how many rows a group has; a user's ended memberships count as one."""
    return 1 + len(group.rules) + len(group.members) + len(group.banned) + len(group.past) + len(group.sent)


def rows_of_head(row: bytes) -> int:
    """How many rows the group of this `head` has; 0 in rows of before that was written."""
    return _head.decode(payload_of(row)).rows


class GroupReader:
    """A group from its rows of the `groups` table, in any order; `seq` 0 if there are none."""

    def __init__(self, group: str) -> None:
        self._state = Group(group)
        self._start = len(group_prefix(group))
        self._members: list[tuple[str, Member]] = []
        self._sent: list[tuple[tuple[str, str], Sent]] = []

    def add(self, key: bytes, row: bytes) -> None:
        """Take in one row."""
        state = self._state
        kind, name, payload = key[self._start : self._start + 1], key[self._start + 1 :], payload_of(row)
        if kind == b"h":
            head = _head.decode(payload)
            state.seq, state.first, state.life, state.at_ms = head.seq, head.first, head.life, head.at_ms
            state.name, state.topic, state.join, state.pruned = head.name, head.topic, head.join, head.pruned
            state.rules.extend(head.rules)
            state.touched.update(("rule", str(since)) for since, _ in head.rules)
        elif kind == b"r":
            state.rules.append((int.from_bytes(name, "big"), _rule.decode(payload)))
        elif kind == b"m":
            self._members.append((name.decode(), Member(*_member.decode(payload))))
        elif kind == b"b":
            state.banned.add(name.decode())
        elif kind == b"p":
            _add_past(state, name, _past.decode(payload))
        elif kind == b"s":
            user, client_msg_id = name.split(b"\x00")
            self._sent.append(((user.decode(), client_msg_id.decode()), Sent(*_sent.decode(payload))))

    def group(self) -> Group:
        """The group, its parts in the order that the fold made: of seq, of joining, of sending."""
        state = self._state
        state.rules = sorted(set(state.rules))
        for spans in state.past.values():
            spans.sort()
        self._members.sort(key=lambda item: (item[1].joined, item[1].place))
        self._sent.sort(key=lambda item: item[1].seq)
        state.members.update(self._members)
        state.sent.update(self._sent)
        return state


def _add_past(state: Group, name: bytes, said: int | list[tuple[int, int]]) -> None:
    if isinstance(said, list):
        state.past.setdefault(name.decode(), []).extend(said)
        return
    # The seq's bytes may be NUL themselves, so it is cut off by its length.
    user, since = name[:-9].decode(), int.from_bytes(name[-8:], "big")
    state.past.setdefault(user, []).append((since, said))


def _seq(seq: int) -> bytes:
    return seq.to_bytes(8, "big")


def _maybe(epoch: int, payload: bytes | None) -> bytes | None:
    return None if payload is None else value(epoch, payload)
