"""A store that is written on another thread and is taken away at a moment of the loop's."""

import threading
from collections.abc import Iterator, Sequence

from tables.store import Change, Store


class StoppedError(Exception):
    """The store is another's now."""


class Stop:
    """Ends the writing to all stores that share it."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._writing = threading.Lock()

    def now(self) -> None:
        """Stop: when this returns no batch is being written, and none will be."""
        with self._writing:
            self._stopping.set()

    def is_set(self) -> bool:
        """Whether it was stopped."""
        return self._stopping.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the stop; whether it came."""
        return self._stopping.wait(timeout_s)

    def write(self, store: Store, changes: Sequence[Change], offset: int) -> None:
        """One batch.

        Raises:
            StoppedError: it was stopped before; nothing is written.
        """
        with self._writing:
            if self._stopping.is_set():
                raise StoppedError
            store.write(changes, offset)


class StoppableStore:
    """A store that takes no more batches once it is told so: a load is many of them."""

    def __init__(self, store: Store, stop: Stop) -> None:
        self._store = store
        self._stop = stop

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        return self._store.get(key)

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """As `Store.scan`."""
        return self._store.scan(prefix, start, backwards=backwards)

    def estimated_rows(self) -> int:
        """As `Store.estimated_rows`."""
        return self._store.estimated_rows()

    def write(self, changes: Sequence[Change], offset: int) -> None:
        """As `Store.write`, unless it was stopped: StoppedError."""
        self._stop.write(self._store, changes, offset)

    def offset(self) -> int:
        """As `Store.offset`."""
        return self._store.offset()
