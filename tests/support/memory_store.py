"""A table's partition in memory, held to the same suite as the real one (tests/unit/tables)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from tables.store import Change


class MemoryStore:
    """`tables.store.Store` without a disk."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] | None = []  # sorted; None: to be sorted anew
        self._offset = -1

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        return self._rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key begins with `prefix`, from key `start` on, onwards or backwards."""
        if self._keys is None:
            self._keys = sorted(self._rows)
        keys = self._keys  # another write makes another list: what is being read stays as it was
        if backwards:
            places = iter(range(bisect_right(keys, start or prefix + b"\xff" * 16) - 1, -1, -1))
        else:
            places = iter(range(bisect_left(keys, start or prefix), len(keys)))
        for place in places:
            if not keys[place].startswith(prefix):
                return
            if (row := self._rows.get(keys[place])) is not None:
                yield keys[place], row

    def write(self, changes: Iterable[Change], offset: int) -> None:
        """All changes and the changelog offset that they reach."""
        for key, row in changes:
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        self._keys = None
        self._offset = offset

    def estimated_rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def offset(self) -> int:
        """The last changelog offset that the rows reach, -1 for none."""
        return self._offset
