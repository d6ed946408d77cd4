"""The groups of a partition that are in memory: an LRU over the table `groups`, bounded by groups and by rows."""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from itertools import islice

from app.domain.state import Group
from tables import group_rows, rows
from tables.store import Store

GROUPS_IN_MEMORY = 10_000
# Some 300 bytes a row: a partition's groups take up to about 60 MB, and a group of 50,000 members fits in thrice.
ROWS_IN_MEMORY = 200_000
SLICE_ROWS = 2_000  # read at once: a few milliseconds in which nothing else runs


class LoadedGroups:
    """Groups by id. `pinned` in its methods: those whose rows on disk are older than they are."""

    def __init__(self, store: Store, capacity: int = GROUPS_IN_MEMORY, row_capacity: int = ROWS_IN_MEMORY) -> None:
        self._store = store
        self._capacity = capacity
        self._row_capacity = row_capacity
        self._groups: OrderedDict[str, Group] = OrderedDict()
        self._weights: dict[str, int] = {}
        self._rows = 0
        self._loading: dict[str, asyncio.Event] = {}
        self._overtaken: set[str] = set()

    def __len__(self) -> int:
        return len(self._groups)

    def __contains__(self, group_id: str) -> bool:
        return group_id in self._groups

    def get(self, group_id: str) -> Group | None:
        """The group if it is in memory."""
        state = self._groups.get(group_id)
        if state is not None:
            self._groups.move_to_end(group_id)
        return state

    def changed(self, group_id: str) -> Group:
        """A group with changes to write: it is in memory, and to be written is not to be used."""
        return self._groups[group_id]

    def put(self, state: Group) -> None:
        """Have a group in memory."""
        self._groups[state.id] = state
        self._groups.move_to_end(state.id)
        if state.id in self._loading:
            self._overtaken.add(state.id)
        self.weigh(state)

    def weigh(self, state: Group) -> int:
        """Count the rows of a group in memory again after it changed; how many it has."""
        weight, before = group_rows.count_of(state), self._weights.get(state.id, 0)
        if weight != before:
            self._rows += weight - before
            self._weights[state.id] = weight
        return weight

    def is_large(self, group_id: str) -> bool:
        """Whether a group that is not in memory has more rows than should be read at once; costs one row."""
        row = self._store.get(rows.head_key(group_id))
        return row is not None and group_rows.rows_of_head(row) > SLICE_ROWS

    def read(self, group_id: str) -> Group:
        """Load a group, all of it at once."""
        reader = group_rows.GroupReader(group_id)
        for key, row in self._store.scan(rows.group_prefix(group_id)):
            reader.add(key, row)
        state = reader.group()
        self.put(state)
        return state

    async def read_in_slices(self, group_id: str) -> None:
        """Load a group while others run in between. Who asks for a group that is being loaded waits for that."""
        while group_id not in self._groups:
            if (other := self._loading.get(group_id)) is not None:
                await other.wait()
                continue
            loading = self._loading[group_id] = asyncio.Event()
            try:
                state = await self._read_slowly(group_id)
                # Somebody who could not wait may have loaded and changed it: then these rows are of two moments.
                if group_id not in self._overtaken:
                    self.put(state)
            finally:
                del self._loading[group_id]
                self._overtaken.discard(group_id)
                loading.set()

    async def _read_slowly(self, group_id: str) -> Group:
        # Each slice is a scan of its own: no iterator may be open when the partition is taken away meanwhile. The rows
        # do not change: a group that is not in memory has no changes to write.
        reader, prefix = group_rows.GroupReader(group_id), rows.group_prefix(group_id)
        start = b""
        while True:
            looked = list(islice(self._store.scan(prefix, start), SLICE_ROWS))
            for key, row in looked:
                reader.add(key, row)
            if len(looked) < SLICE_ROWS:
                return reader.group()
            start = looked[-1][0] + b"\x00"
            await asyncio.sleep(0)

    def evict(self, pinned: Collection[str], writing: Collection[str]) -> None:
        """Let go of the groups used longest ago until the bounds hold; the newest one stays whatever its size."""
        if not self._too_many():
            return
        gone = []
        groups, total = len(self._groups), self._rows
        for group_id in islice(self._groups, len(self._groups) - 1):
            if groups <= self._capacity and total <= self._row_capacity:
                break
            if group_id not in pinned and group_id not in writing:
                gone.append(group_id)
                groups -= 1
                total -= self._weights[group_id]
        for group_id in gone:
            del self._groups[group_id]
            self._rows -= self._weights.pop(group_id)

    def _too_many(self) -> bool:
        return len(self._groups) > self._capacity or self._rows > self._row_capacity
