"""A Faust table whose rows are loaded in bulk and written behind, never by `table[key] = value`.

Faust keeps what it is good at: assigning the changelog partitions with their commands, opening and closing RocksDB,
and recovery as the safety net behind our loader.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from faust.stores.rocksdb import Store as FaustRocksStore
from faust.tables.table import Table as FaustTable
from faust.types import TP

from app.telemetry import logger
from tables import loader
from tables.store import RocksStore

log = logger("tables")

MEMTABLE_BYTES = 8 * 1024 * 1024  # two a partition; Faust's default is 192 MiB in all
BLOCK_CACHE_BYTES = 8 * 1024 * 1024
MAX_OPEN_FILES = 64

Recovered = Callable[[set[int]], Awaitable[None]]


class WriteBehindTable(FaustTable):
    """A table of one app. `on_recovered` gets the active partitions after each recovery."""

    def __init__(self, *args: Any, bootstrap: str, on_recovered: Recovered | None = None, **kwargs: Any) -> None:
        options = {
            "write_buffer_size": MEMTABLE_BYTES,
            "max_write_buffer_number": 2,
            "target_file_size_base": 4 * MEMTABLE_BYTES,
            "block_cache_size": BLOCK_CACHE_BYTES,
            "max_open_files": MAX_OPEN_FILES,
            "driver": "rocksdict",
        }
        super().__init__(*args, key_type=bytes, value_type=bytes, options=options, **kwargs)
        self._bootstrap = bootstrap
        self._on_recovered = on_recovered

    def store(self, partition: int) -> RocksStore:
        """The rows of one partition, which must be assigned to this worker."""
        data: FaustRocksStore = self.data
        return RocksStore(data._db_for_partition(partition))  # noqa: SLF001 - Faust has no public way to it

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Load all assigned partitions in bulk before Faust's recovery reads the offsets that they reach."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        topic = self.changelog_topic.get_topic_name()
        standbys = {tp.partition for tp in self.app.assignor.assigned_standbys() if tp.topic == topic}
        mine = sorted({tp.partition for tp in assigned if tp.topic == topic} - standbys)
        loads = (asyncio.to_thread(loader.load, self._bootstrap, topic, p, self.store(p)) for p in mine)
        loaded = await asyncio.gather(*loads)
        rows, void = sum(each.rows for each in loaded), sum(each.void for each in loaded)
        log.info("tables loaded", topic=topic, partitions=len(mine), rows=rows, void=void)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """After recovery and before the first command: the one hook that always is (design §4)."""
        await super().on_recovery_completed(active_tps, standby_tps)
        if self._on_recovered is not None:
            await self._on_recovered({tp.partition for tp in active_tps})
