"""Opening a local table, whatever is left of it: it is a cache, so what cannot be read is removed and loaded again."""

from pathlib import Path
from typing import Any

from faust.stores.rocksdb import Store as FaustRocksStore

from app.telemetry import logger
from tables.store import condemn, remove_condemned

log = logger("tables")


class DiskStore(FaustRocksStore):
    """Faust's store of one table; an unreadable RocksDB does not end the worker, start after start."""

    def _open_for_partition(self, partition: int) -> Any:
        path = Path(self.partition_path(partition))
        if remove_condemned(path):
            log.error("a local table was damaged: removed, to be loaded again from its changelog", path=str(path))
        try:
            return super()._open_for_partition(partition)
        except Exception as why:  # rocksdict has no class of its own for what RocksDB says
            if "lock" in str(why).lower():
                raise  # another process has it open, or we do still: Faust tries again
            log.error("a local table cannot be opened: removed, to be loaded again", path=str(path), why=str(why))
            condemn(path)
            remove_condemned(path)
            return super()._open_for_partition(partition)
