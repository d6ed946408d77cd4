"""A damaged RocksDB is never read as a smaller one, and is gone when it is opened the next time."""

import os
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from tables.store import RocksStore, StoreError, remove_condemned

ROWS = 20_000


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A RocksDB with a spoilt block in the middle of its only data file."""
    path = tmp_path / "groups-0.db"
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    rocks = Rdict(str(path), options=options)
    for n in range(ROWS):
        rocks[b"g\x00m%06d" % n] = os.urandom(40)
    rocks.flush()
    rocks.close()
    (file,) = path.glob("*.sst")
    with file.open("r+b") as raw:
        raw.seek(file.stat().st_size // 2)
        raw.write(bytes(64))
    return path


def test_a_scan_that_meets_a_damaged_block_does_not_just_end(damaged: Path) -> None:
    store = RocksStore(Rdict(str(damaged), options=Options(raw_mode=True)))
    for backwards in (False, True):
        with pytest.raises(StoreError):
            list(store.scan(b"g\x00", backwards=backwards))


def test_a_row_that_cannot_be_read_condemns_the_table(damaged: Path) -> None:
    rocks = Rdict(str(damaged), options=Options(raw_mode=True))
    store = RocksStore(rocks)
    with pytest.raises(StoreError):
        [store.get(b"g\x00m%06d" % n) for n in range(ROWS)]
    rocks.close()
    assert remove_condemned(damaged)
    assert not damaged.exists()
    assert not remove_condemned(damaged)


def test_a_scan_of_a_whole_table_condemns_nothing(tmp_path: Path) -> None:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    store = RocksStore(Rdict(str(tmp_path / "t.db"), options=options))
    store.write([(b"a\x00m1", b"1"), (b"a\x00m2", b"2"), (b"b\x00m1", b"3")], 7)
    assert [key for key, _ in store.scan(b"a\x00")] == [b"a\x00m1", b"a\x00m2"]
    assert [key for key, _ in store.scan(b"b\x00", backwards=True)] == [b"b\x00m1"]
    assert not remove_condemned(tmp_path / "t.db")
