"""One partition of one table on disk: rows by key, in RocksDB."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rocksdict import DbClosedError, WriteBatch

from tables import rows

Change = tuple[bytes, bytes | None]  # the key, and the row or None where it is deleted

# Faust's own key for the changelog offset that the rows reach, so that it knows a store of ours for one of its own.
OFFSET_KEY = b"__faust\0offset__"


class Store(Protocol):
    """What the owner of a partition needs of its rows."""

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        ...

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key begins with `prefix`, in the order of keys, from key `start` on."""
        ...

    def write(self, changes: Sequence[Change], offset: int) -> None:
        """All changes and the changelog offset that they reach, at once or not at all."""
        ...

    def offset(self) -> int:
        """The last changelog offset that the rows reach, -1 for none."""
        ...

    def estimated_rows(self) -> int:
        """About how many rows there are; costs nothing."""
        ...


class StoreError(Exception):
    """The files of a local table are damaged: it is condemned, and begun anew when it is opened the next time."""


class RocksStore:
    """A store over an open RocksDB (in raw mode).

    Raises:
        StoreError: from any method, what is on disk cannot be read.
    """

    def __init__(self, db: Any) -> None:
        self._db = db

    def get(self, key: bytes) -> bytes | None:
        """The row of `key`, or None."""
        with self._condemning():
            row: bytes | None = self._db.get(key)
        return row

    def scan(self, prefix: bytes, start: bytes = b"", *, backwards: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose key begins with `prefix`, from key `start` on, onwards or backwards."""
        at = self._db.iter()
        if backwards:
            at.seek_for_prev(start or prefix + b"\xff" * 16)
        else:
            at.seek(start or prefix)
        while at.valid() and (key := at.key()).startswith(prefix):
            yield key, at.value()
            if backwards:
                at.prev()
            else:
                at.next()
        if not at.valid():
            with self._condemning():
                at.status()  # `Rdict.items` would not ask: a scan that met a damaged block just seems to be over

    def write(self, changes: Iterable[Change], offset: int) -> None:
        """All changes and the changelog offset that they reach, at once or not at all."""
        batch = WriteBatch(raw_mode=True)
        for key, row in changes:
            if row is None:
                batch.delete(key)
            else:
                batch.put(key, row)
        batch.put(OFFSET_KEY, b"%d" % offset)
        self._db.write(batch)

    def offset(self) -> int:
        """The last changelog offset that the rows reach, -1 for none."""
        stored = self.get(OFFSET_KEY)
        return -1 if stored is None else int(stored)

    def estimated_rows(self) -> int:
        """About how many rows there are, as RocksDB counts them: a row that changed often may count twice."""
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    @contextmanager
    def _condemning(self) -> Iterator[None]:
        try:
            yield
        except Exception as why:  # rocksdict has no class of its own for what RocksDB says
            if isinstance(why, DbClosedError):
                raise
            condemn(Path(self._db.path()))
            raise StoreError(f"{self._db.path()}: {why}") from why


def condemn(path: Path) -> None:
    """Have the RocksDB at `path` removed before it is opened the next time."""
    _condemned(path).touch()


def remove_condemned(path: Path) -> bool:
    """Remove the RocksDB at `path` if it is condemned; whether it was."""
    if not _condemned(path).exists():
        return False
    shutil.rmtree(path, ignore_errors=True)
    _condemned(path).unlink()
    return True


def _condemned(path: Path) -> Path:
    return path.with_name(path.name + ".damaged")


def position(store: Store) -> rows.Position | None:
    """How far the store's rows reach in the log, or None for an empty one."""
    row = store.get(rows.POSITION_KEY)
    return None if row is None else rows.decode_position(row)


def last_claim(store: Store) -> int:
    """The highest changelog claim among the rows, -1 for none."""
    for key, _ in store.scan(rows.CLAIM_PREFIX, backwards=True):
        return int.from_bytes(key[-rows.EPOCH_BYTES :], "big")
    return -1
