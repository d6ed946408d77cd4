"""A table's partition in memory, held to the same suite as the real one (tests/unit/tables)."""

from collections.abc import Iterable, Iterator

from tables.store import Change


class MemoryStore:
    """`tables.store.Store` without a disk."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._offset = -1

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        return self._rows.get(key)

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key begins with `prefix`, from key `start` on, onwards or backwards."""
        for key in sorted((k for k in self._rows if k.startswith(prefix)), reverse=backwards):
            if not start or (key <= start if backwards else key >= start):
                yield key, self._rows[key]

    def write(self, changes: Iterable[Change], offset: int) -> None:
        """All changes and the changelog offset that they reach."""
        for key, row in changes:
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        self._offset = offset

    def offset(self) -> int:
        """The last changelog offset that the rows reach, -1 for none."""
        return self._offset
