"""A store that counts what is read of it, and how much of that without letting the loop run."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from typing import TypeVar

from tables.store import Change, Store

T = TypeVar("T")


class CountingStore:
    """Another store, and the number of rows that were read of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = 0

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        self.read += 1
        return self._store.get(key)

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key begins with `prefix`."""
        for item in self._store.scan(prefix, start, backwards=backwards):
            self.read += 1
            yield item

    def write(self, changes: Sequence[Change], offset: int) -> None:
        """All changes and the changelog offset that they reach."""
        self._store.write(changes, offset)

    def offset(self) -> int:
        """The last changelog offset that the rows reach, -1 for none."""
        return self._store.offset()

    def estimated_rows(self) -> int:
        """About how many rows there are."""
        return self._store.estimated_rows()


async def while_others_run(work: Awaitable[T], store: CountingStore) -> tuple[T, int]:
    """What `work` gives, and the most rows that it read of `store` between two turns of another task."""
    most, before = 0, store.read

    async def others() -> None:
        nonlocal most, before
        while True:
            most, before = max(most, store.read - before), store.read
            await asyncio.sleep(0)

    another = asyncio.create_task(others())
    try:
        result = await work
    finally:
        most = max(most, store.read - before)
        another.cancel()
        await asyncio.gather(another, return_exceptions=True)
    return result, most
