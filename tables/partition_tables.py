"""Both tables of one partition as its owner uses them: groups by id, events by seq, and what is not written yet."""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from app.domain.events import Event, MessagePosted, decode_event
from app.domain.evolve import evolve
from app.domain.state import Group, Target
from tables import rows
from tables.store import Change, Store

GROUPS_IN_MEMORY = 10_000


@dataclass(slots=True)
class Snapshot:
    """Rows to write, as they were at one moment: each table's changes, and marks to delete in the store only."""

    groups: list[Change] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    unmarked: list[bytes] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.groups) + len(self.history)


class PartitionTables:
    """The fold of one partition: an LRU of loaded groups over `groups`, the newest events over `history`.

    Groups with changes that are not written are never evicted: their rows on disk are older than they are.
    """

    def __init__(self, groups: Store, history: Store, capacity: int = GROUPS_IN_MEMORY) -> None:
        self.stores = {"groups": groups, "history": history}
        self._capacity = capacity
        self._loaded: OrderedDict[str, Group] = OrderedDict()
        self._changed: set[str] = set()
        self._replaced: dict[bytes, bytes | None] = {}
        self._events: dict[bytes, bytes] = {}
        self._writing: dict[bytes, bytes] = {}
        self._unmarked: list[bytes] = []

    def group(self, group_id: str) -> Group:
        """The state of a group, from memory or from its rows; `life` "none" if there never was one."""
        state = self._loaded.get(group_id)
        if state is None:
            state = rows.read_group(group_id, self.stores["groups"].scan(rows.group_prefix(group_id)))
            self._loaded[group_id] = state
            self._evict()
        else:
            self._loaded.move_to_end(group_id)
        return state

    def apply(self, event: Event, value: bytes, request: str = "") -> None:
        """Fold one event, whose bytes are `value`, into both tables; nothing happens if it is in already.

        `request` is the digest in its record (`evolve`).

        Raises:
            app.domain.evolve.SeqGapError: it is not the group's next one.
        """
        evolve(self.group(event.group), event, request)
        self._changed.add(event.group)
        self._events[rows.event_key(event.group, event.seq)] = value

    def event(self, group_id: str, seq: int) -> bytes | None:
        """The bytes of an event, or None where the history has none."""
        key = rows.event_key(group_id, seq)
        value = self._events.get(key) or self._writing.get(key)
        if value is None and (row := self.stores["history"].get(key)) is not None:
            value = rows.payload_of(row)
        return value

    def target(self, group: Group, seq: int, reaction: tuple[str, str] | None = None) -> Target | None:  # noqa: ARG002
        """The message `seq` of the current life, or None if that is no message."""
        if not group.first <= seq <= group.seq or (value := self.event(group.id, seq)) is None:
            return None
        event = decode_event(value)
        return Target(seq, event.by) if isinstance(event.data, MessagePosted) else None

    def unwritten(self) -> int:
        """Groups and events changed since the last snapshot."""
        return len(self._changed) + len(self._events)

    def snapshot(self, epoch: int) -> Snapshot:
        """Take what has changed, as rows of the owner `epoch`. One snapshot at a time: the next one after `written`."""
        snapshot = Snapshot(groups=list(self._replaced.items()), unmarked=self._unmarked, written=self._changed)
        for group_id in self._changed:
            state = self._loaded[group_id]
            snapshot.groups.extend(rows.part_rows(state, state.take_touched(), epoch))
        self._writing.update(self._events)
        snapshot.history.extend((key, rows.value(epoch, value)) for key, value in self._writing.items())
        self._replaced, self._unmarked, self._changed, self._events = {}, [], set(), {}
        return snapshot

    def written(self) -> None:
        """The snapshot is in the stores."""
        self._writing.clear()
        self._evict()

    def mark_stale(self, group_id: str) -> None:
        """Mark a group to be rebuilt, so that a crash before that does not lose the mark."""
        store = self.stores["groups"]
        store.write([(rows.stale_key(group_id), b"")], store.offset())

    def stale_groups(self) -> set[str]:
        """The groups that a load marked to be rebuilt."""
        prefix = rows.STALE_PREFIX
        return {key[len(prefix) :].decode() for store in self.stores.values() for key, _ in store.scan(prefix)}

    def forget(self, group_id: str) -> None:
        """Begin to rebuild a group: its rows go, its state is empty, and the fold of its whole log must follow."""
        prefix = rows.group_prefix(group_id)
        for key, _ in self.stores["groups"].scan(prefix):
            self._replaced[key] = None
        self._loaded[group_id] = Group(group_id)
        self._changed.add(group_id)
        self._unmarked.append(rows.stale_key(group_id))

    def _evict(self) -> None:
        """Let go of the groups used longest ago, as far as their rows are written."""
        if self._writing or len(self._loaded) <= self._capacity:
            return
        for group_id in list(islice(self._loaded, len(self._loaded) - self._capacity)):
            if group_id not in self._changed:
                del self._loaded[group_id]
