"""The history of a partition's groups: the bytes of events, and what became of messages since.

The fold of an event touches a bounded number of rows, a post only its own; folding an event again changes nothing.
Content that was deleted is gone from the rows themselves, so that whoever reads them cannot serve it, and compaction
removes the old bytes from the changelog.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from app.domain.events import (
    Event,
    HistoryPruned,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
)
from app.domain.state import Target
from tables import history_rows as keys
from tables import rows
from tables.marks import EventMarks
from tables.store import Change, Store
from tables.sweep import Sweeps
from tables.unwritten import Unwritten

# Of a deleted message's reactions so many rows go at once: more of them stay, without content and never read.
DELETED_AT_ONCE = 10_000
REACTORS = 1_000  # users of one emoji that are told (protocol §9)
REACTIONS_BYTES = 384 * 1024  # users and emojis of one message that are told, as JSON: a frame holds 1 MiB
JUMP_BYTES = 512  # an emoji of which no user is told any more takes at most that
JUMPS_BYTES = 256 * JUMP_BYTES
GAP_SEQS = 32  # between two events that are wanted: passing over so many rows costs less than seeking again


class NotLoadedError(Exception):
    """The history has no row for an event that must be there: it is loading."""


@dataclass(slots=True)
class Reactions:
    """Who reacted to a message, in the order of reacting; `more` names the emojis whose users are cut."""

    users: dict[str, list[str]] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)


class History:
    """The table `history` of one partition: its store, and what is not in it yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Two, so that a snapshot has events before details: an edit that is forgotten must be redacted first.
        self._events = Unwritten(store)
        self._details = Unwritten(store)
        self.marks = EventMarks(self._details)
        self._sweeps = Sweeps(store)

    # The fold

    def fold(self, event: Event, value: bytes) -> None:
        """Take in an event whose bytes are `value`."""
        group, seq = event.group, event.seq
        self._events.put(rows.event_key(group, seq), value)
        match event.data:
            case MessagePosted():
                return
            case MessageEdited() as d:
                self._put_detail(keys.edit_key(group, d.target, seq), b"null", group, d.target)
            case MessageDeleted() as d:
                self._redact(group, d.target)
            case ReactionAdded() as d:
                user = event.by or ""
                self._put_detail(keys.reaction_key(group, d.target, d.emoji, seq), user.encode(), group, d.target)
                reactors = keys.reactors_prefix(group, d.target)
                self._details.put(keys.reactor_key(group, d.target, d.emoji, user), b"%d" % seq, reactors)
            case ReactionRemoved() as d:
                self._take_back(group, d.target, d.emoji, event.by or "")
            case HistoryPruned() as d:
                self._details.put(keys.sweep_key(group), b"%d" % d.through)
                self._sweeps.add(group, d.through)
        self.marks.mark(group, seq, changes=keys.changes_state(value))

    def _take_back(self, group: str, seq: int, emoji: str, user: str) -> None:
        reactor = keys.reactor_key(group, seq, emoji, user)
        reaction = self._details.get(reactor)
        if reaction is not None:
            # The row that leads to the other goes last, so that a flush that is cut between them can be done again.
            self._put_detail(keys.reaction_key(group, seq, emoji, int(reaction)), None, group, seq)
            self._details.put(reactor, None, keys.reactors_prefix(group, seq))

    def _redact(self, group: str, seq: int) -> None:
        """Take the content out of a message, of its edits, and forget what became of it."""
        message = self.event(group, seq)
        if message is None or not keys.is_message(message):
            return
        details = keys.detail_prefix(group, seq)
        edits = [keys.last_seq(key) for key, _ in self._details.scan(details, b"e")]
        for content in (seq, *edits):
            if (value := self.event(group, content)) is not None:
                self._events.put(rows.event_key(group, content), keys.redact(value))
        for bucket in (details, keys.reactors_prefix(group, seq)):
            for key, _ in list(islice(self._details.scan(bucket), len(edits) + DELETED_AT_ONCE)):
                self._details.put(key, None, bucket)

    def _put_detail(self, key: bytes, payload: bytes | None, group: str, seq: int) -> None:
        self._details.put(key, payload, keys.detail_prefix(group, seq))

    # Events

    def event(self, group: str, seq: int) -> bytes | None:
        """The bytes of an event, None where the history has none."""
        return self._events.get(rows.event_key(group, seq))

    def events(self, group: str, low: int, high: int) -> Iterator[tuple[int, bytes]]:
        """Seq and bytes of the events from `low` to `high` that the history has, in their order.

        The loop must not run meanwhile: rows are read from the store as they are asked for.
        """
        stored = self._store.scan(keys.events_prefix(group), rows.event_key(group, low))
        at = next(stored, None)
        for seq in range(low, high + 1):
            key = rows.event_key(group, seq)
            while at is not None and at[0] < key:
                at = next(stored, None)
            if self._events.changed(key):
                if (value := self._events.get(key)) is not None:
                    yield seq, value
            elif at is not None and at[0] == key:
                yield seq, rows.payload_of(at[1])

    def pick(self, group: str, seqs: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """As `events`, of these seqs in rising order only."""
        for run in _runs(seqs):
            wanted = set(run)
            yield from ((seq, value) for seq, value in self.events(group, run[0], run[-1]) if seq in wanted)

    # Messages

    def target(self, group: str, seq: int, reaction: tuple[str, str] | None) -> Target | None:
        """The message `seq`, None if that is none; whether (user, emoji) has reacted to it."""
        value = self.event(group, seq)
        if value is None or not keys.is_message(value):
            return None
        message = keys.decode_posted(value)
        reacted = False
        if reaction is not None:
            user, emoji = reaction
            reacted = self._details.get(keys.reactor_key(group, seq, emoji, user)) is not None
        return Target(seq, message.by, deleted=message.data.deleted, reacted=reacted)

    def plain(self, group: str, seqs: list[int], at_most: int = 500) -> set[int]:
        """Those of the messages `seqs`, rising, that are known to have neither edits nor reactions.

        One look at the whole range instead of one a message; it ends after `at_most` rows of details.
        """
        prefix, through = keys.details_prefix(group), seqs[-1]
        detailed: set[int] = set()
        for looked, (key, _) in enumerate(self._store.scan(prefix, keys.detail_prefix(group, seqs[0]))):
            seq = int.from_bytes(key[len(prefix) : len(prefix) + 8], "big")
            if seq > through or looked == at_most:
                through = min(through, seq - 1)
                break
            detailed.add(seq)
        return {
            seq
            for seq in seqs
            if seq <= through and seq not in detailed and not self._details.touches(keys.detail_prefix(group, seq))
        }

    def edits(self, group: str, seq: int) -> Iterator[int]:
        """The events that edited the message `seq`, the newest first."""
        scanned = self._details.scan(keys.detail_prefix(group, seq), b"e", backwards=True)
        return (keys.last_seq(key) for key, _ in scanned)

    def reactions(self, group: str, seq: int, seen: Callable[[int], bool]) -> Reactions:
        """Who reacted to the message `seq` by events that are `seen`.

        Cut at `REACTORS` an emoji and `REACTIONS_BYTES` in all, so that the cost is bounded whatever there is.
        """
        found = Reactions()
        first: dict[str, int] = {}
        bucket, room = keys.detail_prefix(group, seq), REACTIONS_BYTES
        start: bytes | None = b""
        while start is not None:
            scanned, start = self._details.scan(bucket, b"r", start), None
            for key, payload in scanned:
                emoji, user, reaction = key[len(bucket) + 1 : -9].decode(), payload.decode(), keys.last_seq(key)
                if room <= 0 or len(found.users.get(emoji, ())) == REACTORS:
                    if seen(reaction):
                        found.more.append(emoji)
                    room -= JUMP_BYTES
                    if room > -JUMPS_BYTES:
                        start = key[:-8] + b"\xff"  # on with the next emoji
                    break
                room -= _encoded_bytes(user) + (0 if emoji in found.users else _encoded_bytes(emoji))
                if seen(reaction):
                    first.setdefault(emoji, reaction)
                    found.users.setdefault(emoji, []).append(user)
        found.users = dict(sorted(found.users.items(), key=lambda item: first[item[0]]))
        return found

    # Writing behind

    def unwritten(self) -> int:
        """Rows changed since the last snapshot."""
        return len(self._events) + len(self._details)

    def take(self, epoch: int) -> list[Change]:
        """A snapshot of what changed, as rows of the owner `epoch`."""
        for key in self._sweeps.next_rows():
            edit = keys.edit_of(key)  # of a pruned message, so its text goes, too
            if edit is not None and (value := self.event(*edit)) is not None:
                self._events.put(rows.event_key(*edit), keys.redact(value))
            self._events.put(key, None)
        return [*self._events.take(epoch), *self._details.take(epoch)]

    def written(self) -> None:
        """The snapshot is in the store."""
        self._events.written()
        self._details.written()
        self._sweeps.written()

    def forget(self, group: str) -> None:
        """Delete what was derived from a group's events; the fold of its whole log must follow."""
        self.marks.forget()
        self._details.put(keys.sweep_key(group), None)
        for prefix in (keys.reactors_prefix(group), keys.marks_prefix(group)):
            for key, _ in self._store.scan(prefix):
                self._details.put(key, None)
        details = keys.details_prefix(group)
        for key, _ in self._store.scan(details):
            self._details.put(key, None, key[: len(details) + 8])


def _encoded_bytes(text: str) -> int:
    """What a text takes in JSON, with a comma: a control character six times its byte."""
    return len(msgspec.json.encode(text)) + 2


def _runs(seqs: Iterable[int]) -> Iterator[list[int]]:
    """Rising seqs in runs without wide gaps."""
    run: list[int] = []
    for seq in seqs:
        if run and seq - run[-1] > GAP_SEQS:
            yield run
            run = []
        run.append(seq)
    if run:
        yield run
