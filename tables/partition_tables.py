"""Both tables of one partition as its owner uses them: groups by id, events by seq, and what is not written yet."""

from collections import deque
from dataclasses import dataclass, field

from app.domain.events import Event
from app.domain.evolve import evolve
from app.domain.state import Group, Target
from tables import group_rows, rows
from tables.history import History, NotLoadedError
from tables.loaded_groups import GROUPS_IN_MEMORY, ROWS_IN_MEMORY, LoadedGroups
from tables.past_states import PastStates
from tables.store import Change, Store

BOTH = ("groups", "history")


@dataclass(slots=True)
class Snapshot:
    """Rows to write, as they were at one moment: each table's changes, and marks to delete in the stores only.

    A table that is not among `tables` is not written, nor its position.
    """

    groups: list[Change] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    unmarked: list[bytes] = field(default_factory=list)
    tables: tuple[str, ...] = BOTH

    def changes(self, table: str) -> list[Change]:
        """The changes of one table."""
        return self.groups if table == "groups" else self.history

    def __len__(self) -> int:
        return len(self.groups) + len(self.history)


class PartitionTables:
    """The fold of one partition: an LRU of loaded groups over `groups`, and the history.

    Groups with changes that are not written are never evicted: their rows on disk are older than they are.

    The history may be held back: while it is loaded, groups are served and the events that it is to fold wait.
    """

    def __init__(
        self, groups: Store, history: Store, capacity: int = GROUPS_IN_MEMORY, row_capacity: int = ROWS_IN_MEMORY
    ) -> None:
        self.stores = {"groups": groups, "history": history}
        self._history = History(history)
        self._past = PastStates(self._history)
        self._held: deque[tuple[Event, bytes]] | None = None
        self._loaded = LoadedGroups(groups, capacity, row_capacity)
        self._changed: set[str] = set()
        self._writing: set[str] = set()
        self._rebuilt: set[str] = set()
        self._replaced: list[bytes] = []  # the keys that these had
        self._unmarked: list[bytes] = []

    def group(self, group_id: str) -> Group:
        """The state of a group, from memory or from its rows; `life` "none" if there never was one.

        Where `needs_load`, this holds the loop for long: await `load` before.
        """
        state = self._loaded.get(group_id)
        if state is None:
            state = self._loaded.read(group_id)
            self._evict()
        return state

    def needs_load(self, group_id: str) -> bool:
        """Whether the group is not in memory and too large to be read at once."""
        return group_id not in self._loaded and self._loaded.is_large(group_id)

    async def load(self, group_id: str) -> Group:
        """As `group`; a large one is read in slices, between which others run."""
        if self.needs_load(group_id):
            await self._loaded.read_in_slices(group_id)
            self._evict()
        return self.group(group_id)

    def apply(self, event: Event, value: bytes, request: str = "") -> None:
        """Fold one event, whose bytes are `value`, into both tables; nothing happens if it is in already.

        `request` is the digest in its record (`evolve`).

        Raises:
            app.domain.evolve.SeqGapError: it is not the group's next one.
        """
        evolve(self.group(event.group), event, request)
        self._changed.add(event.group)
        if self._held is None:
            self._history.fold(event, value)
        else:
            self._held.append((event, value))

    def event(self, group_id: str, seq: int) -> bytes | None:
        """The bytes of an event, redacted where its content was deleted; None where the history has none."""
        return self.history.event(group_id, seq)

    def target(self, group: Group, seq: int, reaction: tuple[str, str] | None = None) -> Target | None:
        """The message `seq`, None if that is no message that is served; whether (user, emoji) has reacted to it."""
        if not max(group.first, group.pruned + 1) <= seq <= group.seq:
            return None
        return self.history.target(group.id, seq, reaction)

    @property
    def history(self) -> History:
        """The history.

        Raises:
            NotLoadedError: it is held back.
        """
        if self._held is not None:
            raise NotLoadedError("the history is being loaded")
        return self._history

    @property
    def past(self) -> PastStates:
        """The states of earlier seqs; raises as `history`."""
        if self._held is not None:
            raise NotLoadedError("the history is being loaded")
        return self._past

    @property
    def held(self) -> int | None:
        """How many events wait for the history; None if it is whole."""
        return None if self._held is None else len(self._held)

    def hold_history(self) -> None:
        """Let events wait from now on. Until `release` only who loads the history touches it."""
        self._held = deque()

    def fold_history(self, event: Event, value: bytes) -> None:
        """Fold an event from before those that wait into the history alone."""
        self._history.fold(event, value)

    def release(self, at_most: int) -> bool:
        """Fold up to so many of the events that wait; whether the history is whole."""
        while self._held and at_most:
            self._history.fold(*self._held.popleft())
            at_most -= 1
        if not self._held:
            self._held = None
        return self._held is None

    @property
    def groups_in_memory(self) -> int:
        """How many groups are in memory."""
        return len(self._loaded)

    def unwritten(self) -> int:
        """Groups and rows of the history changed since the last snapshot."""
        return len(self._changed) + (self._history.unwritten() if self._held is None else 0)

    def unwritten_history(self) -> int:
        """Rows of the history alone changed since the last snapshot."""
        return self._history.unwritten()

    def snapshot(self, epoch: int) -> Snapshot:
        """Take what has changed, as rows of the owner `epoch`. One snapshot at a time: the next one after `written`."""
        snapshot = Snapshot(tables=("groups",))
        for group_id in self._changed:
            state = self._loaded.changed(group_id)
            weight = self._loaded.weigh(state)
            snapshot.groups += group_rows.part_rows(state, state.take_touched(), epoch, weight)
        if self._rebuilt:
            put = {key for key, _ in snapshot.groups}
            gone = [(key, None) for key in self._replaced if key not in put]
            void = [group_rows.void_head(self._loaded.changed(group_id), epoch) for group_id in self._rebuilt]
            snapshot.groups[:0] = [*void, *gone]
        if self._held is None:
            snapshot.history, snapshot.tables = self._history.take(epoch), BOTH
            snapshot.unmarked, self._unmarked = self._unmarked, []
        self._writing = self._changed
        self._changed = set()
        self._replaced, self._rebuilt = [], set()
        return snapshot

    def history_snapshot(self, epoch: int) -> Snapshot:
        """As `snapshot`, of the history that is held back."""
        return Snapshot(history=self._history.take(epoch), tables=("history",))

    def written(self, tables: tuple[str, ...] = BOTH) -> None:
        """The snapshot is in the stores of these tables."""
        if "groups" in tables:
            self._writing = set()
            self._evict()
        if "history" in tables:
            self._history.written()

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
        self._replaced.extend(key for key, _ in self.stores["groups"].scan(rows.group_prefix(group_id)))
        self._rebuilt.add(group_id)
        self.forget_history(group_id)
        self._loaded.put(Group(group_id))
        self._changed.add(group_id)

    def forget_history(self, group_id: str) -> None:
        """As `forget`, of the group's history alone."""
        self._history.forget(group_id)
        self._unmarked.append(rows.stale_key(group_id))

    def _evict(self) -> None:
        self._loaded.evict(self._changed, self._writing)
