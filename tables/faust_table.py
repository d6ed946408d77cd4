"""A Faust table whose rows are loaded in bulk and written behind, never by `table[key] = value`.

Faust keeps what it is good at: assigning the changelog partitions with their commands, active and standing by, opening
and closing RocksDB, and saying when a partition is to be opened.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from faust.tables.table import Table as FaustTable
from faust.types import TP, EventT

from app.telemetry import logger
from tables.disk import DiskStore
from tables.standby import Standby
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
        self._standby: Standby | None = None

    def _new_store_by_url(self, url: Any) -> DiskStore:
        return DiskStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )

    def store(self, partition: int) -> RocksStore:
        """The rows of one partition, which must be assigned to this worker."""
        data: DiskStore = self.data
        return RocksStore(data._db_for_partition(partition))  # noqa: SLF001 - Faust has no public way to it

    def persisted_offset(self, tp: TP) -> int | None:  # noqa: ARG002
        """None: Faust's recovery need not know, for it reads nothing (agents/recovery.py), nor open what stands by."""
        return None

    def apply_changelog_batch(self, batch: Iterable[EventT]) -> None:
        """Nothing: what Faust would write here has no epoch checked, and moves the offset past rows that are not in."""

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Open the stores of the active partitions, which their opening loads, and stand by for the others."""
        await self.stand_down()  # before a store is given away, or becomes an owner's
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        topic = self.changelog_topic.get_topic_name()
        standbys = {tp.partition for tp in self.app.assignor.assigned_standbys() if tp.topic == topic}
        active = {tp.partition for tp in assigned if tp.topic == topic} - standbys
        self._standby = Standby(self._bootstrap, topic, standbys, self.store)
        self._standby.start()
        log.info("table assigned", topic=topic, active=sorted(active), standby=sorted(standbys))

    async def stand_down(self) -> None:
        """Stand by for nothing until the next assignment."""
        if self._standby is not None:
            await self._standby.stop()
            self._standby = None

    async def on_stop(self) -> None:
        """End with the worker."""
        await self.stand_down()
        await super().on_stop()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """After recovery and before the first command: the one hook that always is (design §4)."""
        await super().on_recovery_completed(active_tps, standby_tps)
        if self._on_recovered is not None:
            await self._on_recovered({tp.partition for tp in active_tps})
