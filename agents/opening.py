"""Opening a partition: claim it, load its tables, fold the log on from their position (design §4)."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from confluent_kafka import Message

from agents.context import Context
from app.domain import instants
from app.domain.events import decode_event
from app.domain.evolve import SeqGapError
from app.kafka import consumer, topics
from app.log.fence import Fence
from app.log.records import NOWHERE, Claim, CommandPlace, EventRecord, claim_headers, decode_record, encode_claim
from tables import loader, rows
from tables.partition_tables import PartitionTables
from tables.store import position
from tables.write_behind import TableChangelog, WriteBehind

FOLD_RECORDS = 5_000  # folded between two flushes, so that a long catch-up stays in bounded memory

PLACES = 100_000  # more than Faust reads again: what it decided since its last commit


@dataclass(slots=True)
class Opened:
    """A partition that is ready to serve: the epoch, how far its commands are decided, and its write-behind."""

    epoch: int
    decided: CommandPlace
    with_event: frozenset[CommandPlace]
    write_behind: WriteBehind


class Opening:
    """One opening of one partition."""

    def __init__(self, context: Context, partition: int, tables: PartitionTables, wall_ms: int) -> None:
        self._context = context
        self._partition = partition
        self._tables = tables
        self._wall_ms = wall_ms
        self._decided = NOWHERE
        self._with_event: deque[CommandPlace] = deque(maxlen=PLACES)
        self._fence = Fence()
        self._folded = 0
        self._rebuilt: set[str] = set()

    async def run(self) -> Opened:
        """Claim, load, fold. What is raised ends the opening; nothing was served yet.

        Raises:
            app.kafka.producer.DeliveryError, app.kafka.consumer.ReadError, TimeoutError: the broker.
            tables.write_behind.FencedError: a newer owner has claimed the changelog.
            loader.BeyondEndError: a position lies beyond its log's end.
            app.domain.events.UnknownKindError: the log is a newer version's.
        """
        async with asyncio.timeout(self._context.settings.delivery_deadline_s):
            epoch = await self._claim()
            changelogs = await self._claim_changelogs(epoch)
        for name, changelog in changelogs.items():
            await self._load(name, changelog)
        write_behind = WriteBehind(self._tables, changelogs, epoch)
        await self._rebuild(epoch)
        await self._fold_on(epoch, write_behind)
        write_behind.healed = True
        return Opened(epoch, self._decided, frozenset(self._with_event), write_behind)

    async def _claim(self) -> int:
        c = self._context
        claim = Claim(log=c.layout.log_id, worker=c.settings.worker, at=instants.to_text(self._wall_ms))
        return await c.events.deliver(
            topics.EVENTS, self._partition, key=None, value=encode_claim(claim), headers=claim_headers()
        )

    async def _claim_changelogs(self, epoch: int) -> dict[str, TableChangelog]:
        c = self._context
        changelogs = {
            name: TableChangelog(c.changelog, c.bootstrap, topic, self._partition, self._tables.stores[name])
            for name, topic in topics.changelogs(c.settings.app_id).items()
        }
        for changelog in changelogs.values():
            await changelog.claim(epoch, c.settings.worker)
        return changelogs

    async def _load(self, name: str, changelog: TableChangelog) -> None:
        """Load what stands before the claim: rows of the owner before, late ones too."""
        store = self._tables.stores[name]
        loaded = await asyncio.to_thread(loader.load, self._context.bootstrap, changelog.topic, self._partition, store)
        changelog.loaded(loaded.offset)

    async def _fold_on(self, epoch: int, write_behind: WriteBehind) -> None:
        """Fold from the older of the two positions to the claim."""
        positions = [position(store) for store in self._tables.stores.values()]
        start = 0
        if all(p is not None for p in positions):
            oldest = min((p for p in positions if p is not None), key=lambda p: p.event_offset)
            start, self._fence = oldest.event_offset, Fence(oldest.epoch)
            if oldest.command_topic_id == self._context.layout.commands_topic_id:
                self._decided = oldest.place
        if start > epoch:
            raise loader.BeyondEndError(
                f"{topics.EVENTS}/{self._partition}: the tables reach offset {start}, the log ends at {epoch}; "
                "the log was lost or put back to an older copy"
            )
        async with consumer.reader_off_loop(self._context.bootstrap) as reader:
            records = consumer.read(reader, topics.EVENTS, self._partition, start, epoch)
            while await asyncio.to_thread(self._fold, records):
                # A position behind a group that is not whole must not be written: the mark is on this disk only.
                await self._rebuild(epoch)
                if self._tables.unwritten() >= FOLD_RECORDS:
                    async with asyncio.timeout(self._context.settings.delivery_deadline_s):
                        await write_behind.flush(self._tables.snapshot(epoch), self.position(self._folded))

    def position(self, event_offset: int) -> rows.Position:
        """The position after folding up to `event_offset`."""
        return rows.Position(
            event_offset=event_offset,
            epoch=self._fence.epoch,
            command_topic_id=self._context.layout.commands_topic_id,
            command_offset=self._decided.offset,
            command_index=self._decided.index,
        )

    def _fold(self, records: Iterator[Message]) -> bool:
        """Fold some records; whether there were any."""
        batch = list(islice(records, FOLD_RECORDS))
        for message in batch:
            self._folded = message.offset() + 1
            record = _valid_event(message, self._fence)
            if record is None:
                continue
            if record.command_topic_id == self._context.layout.commands_topic_id:
                self._decided = max(self._decided, record.place)
                self._with_event.append(record.place)
            try:
                self._tables.apply(decode_event(record.value), record.value, record.request)
            except SeqGapError:
                if record.group in self._rebuilt:
                    raise  # the log itself has a gap
                # The rows on disk lack something: this group alone is built anew from the log.
                self._tables.mark_stale(record.group)
        return bool(batch)

    async def _rebuild(self, epoch: int) -> None:
        """Build the groups whose rows are void anew from the whole log."""
        stale = self._tables.stale_groups() - self._rebuilt
        self._rebuilt |= stale
        if not stale:
            return
        for group in stale:
            self._tables.forget(group)
        await asyncio.to_thread(self._fold_groups, stale, epoch)

    def _fold_groups(self, groups: set[str], epoch: int) -> None:
        fence = Fence()
        with consumer.reader(self._context.bootstrap) as reader:
            low, _ = consumer.offsets(reader, topics.EVENTS, self._partition)
            for message in consumer.read(reader, topics.EVENTS, self._partition, low, epoch):
                record = _valid_event(message, fence)
                if record is not None and record.group in groups:
                    self._tables.apply(decode_event(record.value), record.value, record.request)


def _valid_event(message: Message, fence: Fence) -> EventRecord | None:
    record = decode_record(offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers())
    return record if fence.admits(record) and isinstance(record, EventRecord) else None
