"""Retention: the rows of pruned messages are deleted, some with each flush, after the pruning is on disk.

A sweep has a row of its own until it is finished, so that it goes on after a crash. Rows that tell how the state came
about stay: the state at an old seq is folded from them.
"""

from collections.abc import Iterator
from itertools import islice

from tables import history_rows as keys
from tables import rows
from tables.store import Store

SWEPT_AT_ONCE = 1_000  # rows looked at with one flush


class Sweeps:
    """The unfinished sweeps of one partition's history: up to which seq of which group."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._new: dict[str, int] = {}
        self._writing: dict[str, int] = {}
        self._active: dict[str, int] | None = None  # read when the store is loaded
        self._reached: dict[str, int] = {}

    def add(self, group: str, through: int) -> None:
        """Sweep `group` from its beginning once all that is unwritten now is written."""
        self._new[group] = max(through, self._new.get(group, 0))

    def __len__(self) -> int:
        return len(self._new) + len(self._writing) + len(self._active or ())

    def next_rows(self) -> list[bytes]:
        """The keys to delete with this snapshot, that of a finished sweep among them."""
        self._writing, self._new = self._new, {}
        if self._active is None:
            prefix = keys.SWEEP_PREFIX
            self._active = {
                key[len(prefix) :].decode(): int(rows.payload_of(row)) for key, row in self._store.scan(prefix)
            }
        group = next(iter(self._active), None)
        if group is None:
            return []
        found, finished = self._look(group, self._active[group])
        if finished:
            del self._active[group]
            self._reached.pop(group, None)
            if group not in self._writing:
                found.append(keys.sweep_key(group))
        return found

    def written(self) -> None:
        """The snapshot is in the store: sweeps that came with it may begin."""
        for group, through in self._writing.items():
            assert self._active is not None
            self._active[group] = max(through, self._active.get(group, 0))
            self._reached.pop(group, None)
        self._writing = {}

    def _look(self, group: str, through: int) -> tuple[list[bytes], bool]:
        """Keys to delete of one slice, and whether that was the last."""
        found: list[bytes] = []
        for prefix in (keys.details_prefix(group), keys.reactors_prefix(group)):
            of_pruned = self._up_to(prefix, 0, through)
            found.extend(key for key, _ in islice(of_pruned, SWEPT_AT_ONCE - len(found)))
        if found:
            return found, False
        events = self._up_to(keys.events_prefix(group), self._reached.get(group, 0), through)
        looked = list(islice(events, SWEPT_AT_ONCE))
        if looked:
            self._reached[group] = keys.last_seq(looked[-1][0]) + 1
        messages = [key for key, row in looked if not keys.changes_state(rows.payload_of(row))]
        return messages, len(looked) < SWEPT_AT_ONCE

    def _up_to(self, prefix: bytes, start: int, through: int) -> Iterator[tuple[bytes, bytes]]:
        for key, row in self._store.scan(prefix, prefix + keys.seq_bytes(start)):
            if int.from_bytes(key[len(prefix) : len(prefix) + 8], "big") > through:
                return
            yield key, row
