"""Both tables of one partition as its owner uses them: groups by id, events by seq, and what is not written yet."""

from dataclasses import dataclass, field

from app.domain.events import Event
from app.domain.evolve import evolve
from app.domain.state import Group, Target
from tables import rows
from tables.history import History
from tables.loaded_groups import GROUPS_IN_MEMORY, ROWS_IN_MEMORY, LoadedGroups
from tables.past_states import PastStates
from tables.store import Change, Store


@dataclass(slots=True)
class Snapshot:
    """Rows to write, as they were at one moment: each table's changes, and marks to delete in the store only."""

    groups: list[Change] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    unmarked: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.groups) + len(self.history)


class PartitionTables:
    """The fold of one partition: an LRU of loaded groups over `groups`, and the history.

    Groups with changes that are not written are never evicted: their rows on disk are older than they are.
    """

    def __init__(
        self, groups: Store, history: Store, capacity: int = GROUPS_IN_MEMORY, row_capacity: int = ROWS_IN_MEMORY
    ) -> None:
        self.stores = {"groups": groups, "history": history}
        self.history = History(history)
        self.past = PastStates(self.history)
        self._loaded = LoadedGroups(groups, capacity, row_capacity)
        self._changed: set[str] = set()
        self._writing: set[str] = set()
        self._replaced: dict[bytes, bytes | None] = {}
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
        return self._loaded.get(group_id) is None and self._loaded.is_large(group_id)

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
        state = evolve(self.group(event.group), event, request)
        self._changed.add(event.group)
        self._loaded.weigh(state)
        self.history.fold(event, value)

    def event(self, group_id: str, seq: int) -> bytes | None:
        """The bytes of an event, redacted where its content was deleted; None where the history has none."""
        return self.history.event(group_id, seq)

    def target(self, group: Group, seq: int, reaction: tuple[str, str] | None = None) -> Target | None:
        """The message `seq`, None if that is no message that is served; whether (user, emoji) has reacted to it."""
        if not max(group.first, group.pruned + 1) <= seq <= group.seq:
            return None
        return self.history.target(group.id, seq, reaction)

    @property
    def groups_in_memory(self) -> int:
        """How many groups are in memory."""
        return len(self._loaded)

    def unwritten(self) -> int:
        """Groups and rows of the history changed since the last snapshot."""
        return len(self._changed) + self.history.unwritten()

    def snapshot(self, epoch: int) -> Snapshot:
        """Take what has changed, as rows of the owner `epoch`. One snapshot at a time: the next one after `written`."""
        snapshot = Snapshot(groups=list(self._replaced.items()), unmarked=self._unmarked)
        for group_id in self._changed:
            state = self.group(group_id)
            snapshot.groups.extend(rows.part_rows(state, state.take_touched(), epoch))
        snapshot.history = self.history.take(epoch)
        self._writing = self._changed
        self._replaced, self._unmarked, self._changed = {}, [], set()
        return snapshot

    def written(self) -> None:
        """The snapshot is in the stores."""
        self._writing = set()
        self.history.written()
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
        for key, _ in self.stores["groups"].scan(rows.group_prefix(group_id)):
            self._replaced[key] = None
        self.history.forget(group_id)
        self._loaded.put(Group(group_id))
        self._changed.add(group_id)
        self._unmarked.append(rows.stale_key(group_id))

    def _evict(self) -> None:
        self._loaded.evict(self._changed, self._writing)
