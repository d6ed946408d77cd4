"""The history of a partition, loaded while its groups are served already (design §4, Writing behind)."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from confluent_kafka import Consumer, Message

from agents.context import Context
from app.domain.events import decode_event
from app.kafka import consumer, topics
from app.log.fence import Fence, valid_event
from app.log.records import NOWHERE
from tables import loader, rows
from tables.partition_tables import PartitionTables
from tables.stoppable import Stop, StoppableStore, StoppedError
from tables.store import position
from tables.write_behind import WriteBehind

T = TypeVar("T")

FOLD_RECORDS = 5_000  # folded between two flushes, so that a long catch-up stays in bounded memory
RELEASE_EVENTS = 500  # of those that wait, before the loop gets its turn


class HistoryLoading:
    """Fills one history, which is held back until then.

    1. its changelog; 2. groups whose rows are void, anew from the whole log; 3. the events from its position to
    `start`, where the fold of the groups began; 4. what waits since. A crash in between leaves a history with an older
    position than the groups', and the next owner goes on there.
    """

    def __init__(
        self,
        context: Context,
        partition: int,
        tables: PartitionTables,
        write_behind: WriteBehind,
        epoch: int,
        start: int,
        ended: Stop,
    ) -> None:
        self._context = context
        self._partition = partition
        self._tables = tables
        self._write_behind = write_behind
        self._epoch = epoch
        self._start = start
        self._stop = Stop()
        self._ended = ended  # of the partition as a whole, while it opens
        self._folded = 0

    async def run(self) -> None:
        """Load, and let the history be read.

        Raises:
            StoppedError: it was stopped.
            tables.loader.BeyondEndError, tables.write_behind.FencedError, app.kafka.consumer.ReadError,
            app.kafka.producer.DeliveryError, TimeoutError: as `Opening.run`.
        """
        try:
            await self._off_loop(self._load)
            if stale := self._tables.stale_groups():
                await self._off_loop(self._rebuild, stale)
            await self._fold_missing()
        except Exception:
            if self._is_stopped():
                raise StoppedError from None  # whatever it met then
            raise
        whole = False
        while not whole:
            whole = self._tables.release(RELEASE_EVENTS)
            await asyncio.sleep(0)
        self._write_behind.healed.add("history")

    def stop(self) -> None:
        """Load no more: no batch is written when this returns, and `run` ends within a fraction of a second."""
        self._stop.now()

    def _load(self) -> None:
        changelog = self._write_behind.changelog("history")
        store = StoppableStore(self._tables.stores["history"], self._stop)
        loaded = loader.load(self._context.bootstrap, changelog.topic, self._partition, store, self._is_stopped)
        changelog.loaded(loaded.offset)

    def _rebuild(self, groups: set[str]) -> None:
        for group in groups:
            self._tables.forget_history(group)
        with consumer.reader(self._context.bootstrap) as reader:
            low, _ = consumer.offsets(reader, topics.EVENTS, self._partition)
            records = self._read(reader, low, self._epoch)
            fence = Fence()
            while self._fold(records, fence, groups):
                pass

    async def _fold_missing(self) -> None:
        reached = position(self._tables.stores["history"])
        begin, fence = (0, Fence()) if reached is None else (reached.event_offset, Fence(reached.epoch))
        async with consumer.reader_off_loop(self._context.bootstrap) as reader:
            records = self._read(reader, begin, self._start)
            while await self._off_loop(self._fold, records, fence):
                if self._tables.unwritten_history() >= FOLD_RECORDS:
                    await self._flush(fence)

    def _read(self, reader: Consumer, start: int, end: int) -> Iterator[Message]:
        return consumer.read(reader, topics.EVENTS, self._partition, start, end, stopped=self._is_stopped)

    def _is_stopped(self) -> bool:
        return self._stop.is_set() or self._ended.is_set()

    async def _off_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        # Not in the pool of the openings: histories are long, and groups are waited for.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._context.histories, partial(work, *arguments))

    async def _flush(self, fence: Fence) -> None:
        # Which commands are decided, the groups' position says.
        reached = rows.Position(
            event_offset=self._folded,
            epoch=fence.epoch,
            command_topic_id=self._context.layout.commands_topic_id,
            command_offset=NOWHERE.offset,
            command_index=NOWHERE.index,
        )
        async with asyncio.timeout(self._context.settings.delivery_deadline_s):
            await self._write_behind.flush(self._tables.history_snapshot(self._epoch), reached)

    def _fold(self, records: Iterator[Message], fence: Fence, groups: set[str] | None = None) -> bool:
        """Fold some records, of these groups if any are named; whether there were any."""
        if self._is_stopped():
            raise StoppedError
        batch = list(islice(records, FOLD_RECORDS))
        for message in batch:
            self._folded = message.offset() + 1
            record = valid_event(message, fence)
            if record is not None and (groups is None or record.group in groups):
                self._tables.fold_history(decode_event(record.value), record.value)
        return bool(batch)
