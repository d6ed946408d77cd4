"""Stores to hold to one suite: the fake and the real one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from tables.store import RocksStore, Store
from tests.support.memory_store import MemoryStore

MakeStore = Callable[[], Store]


def open_database(path: Path) -> Rdict:
    """A RocksDB in raw mode, as Faust opens them."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(path), options=options)


@pytest.fixture(params=["memory", "rocksdb"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Makes empty stores, of each kind in turn."""
    opened: list[Rdict] = []

    def make() -> Store:
        if request.param == "memory":
            return MemoryStore()
        opened.append(open_database(tmp_path / str(len(opened))))
        return RocksStore(opened[-1])

    yield make
    for db in opened:
        db.close()
