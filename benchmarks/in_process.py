"""A partition in this process, with both tables in RocksDB and everything but a broker: what a command costs us.

The producer takes all records at once and reports them in the loop's next turn, so that deciding, folding, encoding
and writing behind are as in a processor; librdkafka, Faust and the broker are left out.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rocksdict import Options, Rdict

from agents.commands import CommandRecord
from agents.context import Context
from agents.opening import Opened
from agents.partition import Partition
from agents.processor import spare_the_collector
from app.config import Settings
from app.domain.commands import Command
from app.domain.events import Event, encode_event
from app.kafka import topics
from app.kafka.producer import Producer
from app.kafka.topics import Layout
from app.log.records import NOWHERE
from benchmarks.lab import record
from tables.partition_tables import PartitionTables
from tables.store import RocksStore
from tables.write_behind import TableChangelog, WriteBehind

EPOCH = 0
FOLD_EVENTS = 5_000
NOW_MS = 1_795_569_600_000


class MemoryProducer(Producer):
    """Our producer over a client that takes everything and keeps nothing; reports come in the loop's next turn."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports = deque()
        self._woken = False
        self._rd = _Client(self._loop, self._drain)


class _Report:
    """A delivery report."""

    __slots__ = ("_offset",)

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset


class _Client:
    """What of librdkafka's client a producer calls. It counts offsets, by topic: one partition is all there is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
        self._loop = loop
        self._drain = drain
        self._next: Counter[str] = Counter({topics.EVENTS: EPOCH + 1})
        self._due: list[tuple[Callable[[None, _Report], None], _Report]] = []

    def produce(self, topic: str, *, on_delivery: Callable[[None, "_Report"], None] | None = None, **_: Any) -> None:
        offset = self._next[topic]
        self._next[topic] += 1
        if on_delivery is not None:
            if not self._due:
                self._loop.call_soon(self._report)
            self._due.append((on_delivery, _Report(offset)))

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], partition: int) -> int:  # noqa: ARG002
        for message in messages:
            self.produce(topic, on_delivery=message.get("callback"))
        return len(messages)

    def _report(self) -> None:
        due, self._due = self._due, []
        for on_delivery, message in due:
            on_delivery(None, message)
        self._drain()


@contextmanager
def stores(folder: Path, name: str) -> Iterator[tuple[RocksStore, RocksStore]]:
    """The two tables of one partition on disk, empty."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    databases = [Rdict(str(folder / f"{name}-{table}"), options) for table in ("groups", "history")]
    try:
        yield RocksStore(databases[0]), RocksStore(databases[1])
    finally:
        for database in databases:
            database.close()


class Bench:
    """An open partition, and the instant and offset of its next command record."""

    def __init__(self, tables: PartitionTables, partition: Partition) -> None:
        self.tables = tables
        self.partition = partition
        self._offset = 0

    @classmethod
    async def open(cls, groups: RocksStore, history: RocksStore) -> Self:
        """Open a partition over empty tables."""
        spare_the_collector()
        producer = MemoryProducer()
        settings = Settings()
        context = Context(
            settings,
            Layout(1, "log", "commands"),
            producer,
            producer,
            "http://here",
            _leave,
            lambda _, why: _leave(why),
            lambda *_: None,
        )
        tables = PartitionTables(groups, history)
        changelogs = {
            name: TableChangelog(producer, "", topic, 0, tables.stores[name])
            for name, topic in topics.changelogs(settings.app_id).items()
        }
        for changelog in changelogs.values():
            await changelog.claim(EPOCH, settings.worker)
            changelog.loaded(0)  # the claim itself
        opened = Opened(EPOCH, NOWHERE, frozenset(), WriteBehind(tables, changelogs, EPOCH))
        return cls(tables, Partition(context, 0, tables, opened))

    async def handle(self, records: Sequence[bytes]) -> float:
        """Decide the commands of `records` and write everything; the CPU seconds of the loop's thread that it took."""
        began = time.thread_time()
        for value in records:
            await self.partition.handle(CommandRecord(self._offset, NOW_MS + self._offset, b"g", value, []), _nothing)
            self._offset += 1
            await asyncio.sleep(0)
        await self.partition.in_flight.settled()
        await self.partition._flusher.flush()  # noqa: SLF001 - the rows belong to the cost
        return time.thread_time() - began

    async def decide(self, *commands: Command) -> None:
        """One record of these commands."""
        await self.handle([record(commands)])

    def fold(self, events: Iterable[Event]) -> None:
        """Put events into both tables as a new owner does who finds them in the log, and write their rows."""
        for event in events:
            self.tables.apply(event, encode_event(event))
            if self.tables.unwritten() >= FOLD_EVENTS:
                self._write()
        self._write()

    def _write(self) -> None:
        snapshot = self.tables.snapshot(EPOCH)
        self.tables.stores["groups"].write(snapshot.groups, offset=0)
        self.tables.stores["history"].write(snapshot.history, offset=0)
        self.tables.written()


def _leave(why: Exception) -> None:
    raise why


def _nothing() -> None:
    pass
