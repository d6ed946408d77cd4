"""A group as rows of the table `groups`, in an order that a crash may cut, and back (keys: `tables.rows`)."""

from collections.abc import Collection
from typing import Literal

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role
from app.domain.evolve import forget_expired
from app.domain.state import Group, Member, Part, Sent
from tables.rows import group_prefix, head_key, payload_of, seq_bytes, stamp, value

HEAD_EVERY = 64  # seqs, at the latest


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A group's row that says up to which event its rows reach, unless a newer `sent` row says it; kept small."""

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


class SentRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An accepted key; `head`: with this row the group's rows are whole up to `seq`, as if its head said so."""

    seq: int
    at_ms: int
    digest: str
    head: bool = False


_ARISEN = frozenset({"rule", "past"})

_encode = msgspec.json.encode
_head = msgspec.json.Decoder(Head)
_member = msgspec.json.Decoder(tuple[Role, int, int])
_past = msgspec.json.Decoder(int | list[tuple[int, int]])  # the list: a row of before each span had one of its own
_rule = msgspec.json.Decoder(HistoryRule)
_sent = msgspec.json.Decoder(SentRow)


def part_rows(
    group: Group, parts: Collection[Part], epoch: int, count: int | None = None
) -> list[tuple[bytes, bytes | None]]:
    """The rows of the named parts of `group`, None for a part that is gone, in an order that a crash may cut.

    `count`: how many rows it has, which its head says; counted here where it is None.

    Rules and ended memberships come first, as they arose: where a crash cuts a flush, a membership whose row is gone or
    newer has left its end behind, and the fold from the old head makes the same state. The `head` comes after all that
    it speaks for (model.md H10). Where only messages came, it is not written: their `sent` rows, in the order of seq,
    say that they speak for it, each for its moment. Last go the keys that left the window: one of them may be the row
    that spoke for the head until now.
    """
    prefix, stamped = group_prefix(group.id), stamp(epoch)
    speaks = _messages_only(group, parts)
    changed: list[tuple[bytes, bytes | None]] = []
    gone: list[tuple[bytes, bytes | None]] = []
    for part in _by_seq(group, parts) if speaks else _ordered(parts):
        if part[0] == "sent":
            _, user, client_msg_id = part
            key = prefix + b"s" + user.encode() + b"\x00" + client_msg_id.encode()
            s = group.sent.get((user, client_msg_id))
            if s is None:
                gone.append((key, None))
            else:
                said = (s.seq, s.at_ms, s.digest, True) if speaks else (s.seq, s.at_ms, s.digest)
                changed.append((key, stamped + _encode(said)))
        elif part[0] != "head":
            suffix, payload = _rare_part(group, part)
            changed.append((prefix + suffix, None if payload is None else stamped + payload))
    if not speaks:
        changed.append((prefix + b"h", stamped + _encode(_head_of(group, count))))
    return changed + gone if gone else changed


def void_head(group: Group, epoch: int) -> tuple[bytes, bytes]:
    """A `head` that makes whoever loads it build the group anew (rule F3): the owner `epoch` writes it before its rows.

    A crash between these would otherwise leave right ones over the void ones that told of it.
    """
    return head_key(group.id), value(epoch - 1, _encode(_head_of(group)))


def _messages_only(group: Group, parts: Collection[Part]) -> bool:
    """Whether the newest `sent` row can speak for the head, which is written now and then for its count of rows."""
    if not parts or group.seq % HEAD_EVERY < len(parts):
        return False
    for part in parts:
        if part[0] != "sent":
            return False
    newest = next(reversed(group.sent.values()), None)
    return newest is not None and newest.seq == group.seq


def _by_seq(group: Group, parts: Collection[Part]) -> Collection[Part]:
    if len(parts) == 1:
        return parts

    def seq(part: Part) -> int:
        sent = group.sent.get((part[1], part[2]))
        return 0 if sent is None else sent.seq

    return sorted(parts, key=seq)


def _rare_part(group: Group, part: Part) -> tuple[bytes, bytes | None]:
    """The key behind the group's prefix, and the payload."""
    match part:
        case ("member", user):
            m = group.members.get(user)
            return b"m" + user.encode(), None if m is None else _encode((m.role, m.joined, m.place))
        case ("ban", user):
            return b"b" + user.encode(), b"null" if user in group.banned else None
        case ("rule", seq):
            rule = next((rule for since, rule in group.rules if since == int(seq)), None)
            return b"r" + seq_bytes(int(seq)), None if rule is None else _encode(rule)
        case ("past", user, since):
            through = next((t for s, t in group.past.get(user, ()) if s == int(since)), None)
            key = b"p" + user.encode() + b"\x00" + seq_bytes(int(since))
            return key, None if through is None else b"%d" % through
        case _:
            raise AssertionError(f"no row for {part}")


def _head_of(group: Group, count: int | None = None) -> Head:
    return Head(
        group.seq,
        group.first,
        group.life,
        group.at_ms,
        group.name,
        group.topic,
        group.join,
        pruned=group.pruned,
        rows=count_of(group) if count is None else count,
    )


def _ordered(parts: Collection[Part]) -> Collection[Part]:
    for part in parts:
        if part[0] in _ARISEN:
            break
    else:
        return parts  # messages only, as mostly
    first = [part for part in parts if part[0] in _ARISEN]
    rest = [part for part in parts if part[0] not in _ARISEN]
    return [*sorted(first, key=lambda part: int(part[-1])), *rest]


def count_of(group: Group) -> int:
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
        self._spoken = (0, 0)  # seq and instant of the newest row that speaks for the head

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
            sent = _sent.decode(payload)
            self._sent.append(((user.decode(), client_msg_id.decode()), Sent(sent.seq, sent.at_ms, sent.digest)))
            if sent.head and sent.seq > self._spoken[0]:
                self._spoken = sent.seq, sent.at_ms

    def group(self) -> Group:
        """The group, its parts in the order that the fold made: of seq, of joining, of sending."""
        state = self._state
        if self._spoken[0] > state.seq:
            state.seq, state.at_ms = self._spoken
        state.rules = sorted(set(state.rules))
        for spans in state.past.values():
            spans.sort()
        self._members.sort(key=lambda item: (item[1].joined, item[1].place))
        self._sent.sort(key=lambda item: item[1].seq)
        state.members.update(self._members)
        state.sent.update(self._sent)
        forget_expired(state)  # a crash may have come before the deletion of their rows
        return state


def _add_past(state: Group, name: bytes, said: int | list[tuple[int, int]]) -> None:
    if isinstance(said, list):
        state.past.setdefault(name.decode(), []).extend(said)
        return
    # The seq's bytes may be NUL themselves, so it is cut off by its length.
    user, since = name[:-9].decode(), int.from_bytes(name[-8:], "big")
    state.past.setdefault(user, []).append((since, said))
