"""Opening a partition: claim it, load its groups, fold the log on from their position (design §4).

The history is loaded while the groups are served, unless it is needed before.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec
from confluent_kafka import Consumer, Message

from agents.context import Context
from agents.history_loading import FOLD_RECORDS, HistoryLoading
from app.domain import instants
from app.domain.events import UnknownKindError, decode_event
from app.domain.evolve import SeqGapError
from app.kafka import consumer, topics
from app.log.fence import Fence, valid_event
from app.log.records import NOWHERE, Claim, CommandPlace, RecordError, claim_headers, encode_claim
from tables import loader, rows
from tables.partition_tables import PartitionTables
from tables.stoppable import Stop
from tables.store import position
from tables.write_behind import TableChangelog, WriteBehind

# What lies in a partition's own log or rows: a new start meets it again, and the other partitions have no part in it.
DATA_FAULTS = (loader.BeyondEndError, UnknownKindError, RecordError, SeqGapError, msgspec.MsgspecError)

PLACES = 100_000  # more than Faust reads again: what it decided since its last commit


@dataclass(slots=True)
class Opened:
    """A partition that is ready to serve: the epoch, how far its commands are decided, and its write-behind.

    `next_command` is the offset of the first record that is not wholly decided. `loading` is what the history still
    needs, None if it is whole.
    """

    epoch: int
    decided: CommandPlace
    with_event: frozenset[CommandPlace]
    write_behind: WriteBehind
    loading: HistoryLoading | None = None
    next_command: int = 0


class Opening:
    """One opening of one partition."""

    def __init__(self, context: Context, partition: int, tables: PartitionTables, wall_ms: int, stop: Stop) -> None:
        self._context = context
        self._stop = stop
        self._partition = partition
        self._tables = tables
        self._wall_ms = wall_ms
        self._decided = NOWHERE
        self._with_event: deque[CommandPlace] = deque(maxlen=PLACES)
        self._fence = Fence()
        self._folded = 0
        self._rebuilt: set[str] = set()
        self._oldest_command = 0

    async def run(self) -> Opened:
        """Claim, load, fold. What is raised ends the opening; nothing was served yet.

        Raises:
            tables.stoppable.StoppedError: it was stopped, by a revocation.
            app.kafka.producer.DeliveryError, app.kafka.consumer.ReadError, TimeoutError: the broker.
            tables.write_behind.FencedError: a newer owner has claimed the changelog.
            loader.BeyondEndError: a position lies beyond its log's end.
            app.domain.events.UnknownKindError: the log is a newer version's.
        """
        async with asyncio.timeout(self._context.settings.delivery_deadline_s):
            epoch = await self._claim()
            changelogs = await self._claim_changelogs(epoch)
        await self._load("groups", changelogs["groups"])
        await asyncio.to_thread(self._check, "history", changelogs["history"])
        write_behind = WriteBehind(self._tables, changelogs, epoch)
        start = await asyncio.to_thread(self._start, epoch)
        self._tables.hold_history()
        self._loading = HistoryLoading(
            self._context, self._partition, self._tables, write_behind, epoch, start, self._stop
        )
        if epoch - start > FOLD_RECORDS:
            await self._loading.run()  # what would wait for it takes memory
        await self._rebuild(epoch)
        await self._fold_on(start, epoch, write_behind)
        write_behind.healed.add("groups")
        loading = self._loading if self._tables.held is not None else None
        next_command = max(self._decided.offset + 1, self._oldest_command)
        return Opened(epoch, self._decided, frozenset(self._with_event), write_behind, loading, next_command)

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
        loaded = await asyncio.to_thread(
            loader.load, self._context.bootstrap, changelog.topic, self._partition, store, self._stop.is_set
        )
        changelog.loaded(loaded.offset)

    def _check(self, name: str, changelog: TableChangelog) -> None:
        loader.check(self._context.bootstrap, changelog.topic, self._partition, self._tables.stores[name])

    def _start(self, epoch: int) -> int:
        """The event offset that the groups reach; and how far commands are decided."""
        c = self._context
        with consumer.reader(c.bootstrap) as reader:
            self._oldest_command, commands_end = consumer.offsets(reader, topics.COMMANDS, self._partition)
        reached = position(self._tables.stores["groups"])
        if reached is None:
            return 0
        self._fence = Fence(reached.epoch)
        if reached.command_topic_id == c.layout.commands_topic_id:
            self._decided = reached.place
        for topic, offset, end in (
            (topics.EVENTS, reached.event_offset, epoch),
            (topics.COMMANDS, self._decided.offset + 1, commands_end),
        ):
            if offset > end:
                raise loader.BeyondEndError(
                    f"{topic}/{self._partition}: the tables reach offset {offset}, the log ends at {end}; "
                    "the log was lost or put back to an older copy"
                )
        return reached.event_offset

    async def _fold_on(self, start: int, epoch: int, write_behind: WriteBehind) -> None:
        """Fold from the groups' position to the claim."""
        async with consumer.reader_off_loop(self._context.bootstrap) as reader:
            records = self._read(reader, start, epoch)
            while await asyncio.to_thread(self._fold, records):
                # A position behind a group that is not whole must not be written: the mark is on this disk only.
                await self._rebuild(epoch)
                if self._tables.unwritten() >= FOLD_RECORDS:
                    async with asyncio.timeout(self._context.settings.delivery_deadline_s):
                        await write_behind.flush(self._tables.snapshot(epoch), self.position(self._folded))

    def _read(self, reader: Consumer, start: int, end: int) -> Iterator[Message]:
        return consumer.read(reader, topics.EVENTS, self._partition, start, end, stopped=self._stop.is_set)

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
            record = valid_event(message, self._fence)
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
        if self._tables.held is not None:
            await self._loading.run()  # their history is built anew, too
        for group in stale:
            self._tables.forget(group)
        await asyncio.to_thread(self._fold_groups, stale, epoch)

    def _fold_groups(self, groups: set[str], epoch: int) -> None:
        fence = Fence()
        with consumer.reader(self._context.bootstrap) as reader:
            low, _ = consumer.offsets(reader, topics.EVENTS, self._partition)
            for message in self._read(reader, low, epoch):
                record = valid_event(message, fence)
                if record is not None and record.group in groups:
                    self._tables.apply(decode_event(record.value), record.value, record.request)
