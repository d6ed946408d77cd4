"""What an operator wants to know of the topics: ends, commits, owners, a few records. Each look is bounded in time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from time import monotonic

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from app.domain.commands import AnyCommand, decode_command, split_array
from app.kafka import consumer, topics
from app.kafka.consumer import ReadError
from app.kafka.topics import Layout
from app.log.fence import Fence
from app.log.records import EventRecord, RecordError, decode_record
from app.owners import Owners, parse_owner

ASK_S = 2.0
READ_S = 3.0
OWNERS_FRESH_S = 0.5  # one look at the owners topic serves the questions of this time
BATCH = 500


class Places(msgspec.Struct, frozen=True):
    """Of the commands topic, by partition: the offsets committed (None where none is), and the ends."""

    committed: dict[int, int | None]
    ends: dict[int, int]


class Broker:
    """Looks at the topics for one worker. Nothing is connected before the first question."""

    def __init__(self, bootstrap: str, app_id: str, layout: Layout) -> None:
        self._bootstrap = bootstrap
        self._app_id = app_id
        self._layout = layout
        self._one_at_a_time = asyncio.Lock()
        self.owners = Owners(layout.partitions, layout.log_id)
        self._owners_read: dict[int, int] = {}
        self._owners_at = float("-inf")

    async def places(self) -> Places:
        """The ends and commits of the commands topic.

        Raises:
            ReadError: the broker did not tell them.
        """
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read_places)

    def _read_places(self) -> Places:
        # A consumer asks each partition's leader; an admin's look-up of many now and then waits for nothing.
        # Of the workers' group only to read its commits: it joins it never.
        with closing(Consumer(consumer.settings(self._bootstrap, **{"group.id": self._app_id}))) as reader:
            numbers = range(self._layout.partitions)
            ends = {p: consumer.offsets(reader, topics.COMMANDS, p, ASK_S)[1] for p in numbers}
            try:
                commits = reader.committed([TopicPartition(topics.COMMANDS, p) for p in numbers], timeout=ASK_S)
            except KafkaException as failed:
                raise ReadError(f"commits of {self._app_id}: {failed.args[0].str()}") from failed
        return Places(committed={tp.partition: tp.offset if tp.offset >= 0 else None for tp in commits}, ends=ends)

    async def learn_owners(self) -> None:
        """Bring `owners` up to the end of the owners topic.

        Raises:
            ReadError: the broker did not deliver in time; what was known stays.
        """
        async with self._one_at_a_time:
            if monotonic() - self._owners_at < OWNERS_FRESH_S:
                return
            records, ends = await asyncio.to_thread(self._read_owners, dict(self._owners_read))
            for record in records:
                if (named := parse_owner(record.key(), record.value())) is not None:
                    self.owners.learn(*named)
            self._owners_read, self._owners_at = ends, monotonic()

    def _read_owners(self, starts: dict[int, int]) -> tuple[list[Message], dict[int, int]]:
        with consumer.reader(self._bootstrap) as reader:
            ends, places = {}, {}
            for p in range(self._layout.partitions):
                low, ends[p] = consumer.offsets(reader, topics.OWNERS, p, ASK_S)
                if (start := max(low, starts.get(p, 0))) < ends[p]:
                    places[p] = start
            records: list[Message] = []
            missing = _read_all(reader, topics.OWNERS, places, ends, records.append)
            if missing:
                raise ReadError(f"{topics.OWNERS}: partitions {sorted(missing)} were not delivered in {READ_S} s")
            return records, ends

    async def instants(self, places: dict[int, int]) -> dict[int, int]:
        """The broker's instants (ms) of the commands at these offsets, of those that come in time."""
        if not places:
            return {}
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read_instants, places)

    def _read_instants(self, places: dict[int, int]) -> dict[int, int]:
        found: dict[int, int] = {}
        with consumer.reader(self._bootstrap) as reader:
            ends = {p: offset + 1 for p, offset in places.items()}
            _read_all(
                reader, topics.COMMANDS, places, ends, lambda m: found.setdefault(m.partition(), m.timestamp()[1])
            )
        return found

    async def command(self, partition: int, offset: int, index: int) -> AnyCommand | None:
        """The command at a place of the commands topic, None if it is not kept any more or is none.

        Raises:
            ReadError: the broker did not deliver.
        """
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read_command, partition, offset, index)

    def _read_command(self, partition: int, offset: int, index: int) -> AnyCommand | None:
        with consumer.reader(self._bootstrap) as reader:
            low, end = consumer.offsets(reader, topics.COMMANDS, partition, ASK_S)
            if not low <= offset < end:
                return None
            records: list[Message] = []
            _read_all(reader, topics.COMMANDS, {partition: offset}, {partition: offset + 1}, records.append)
        try:
            return decode_command(split_array(records[0].value())[index])
        except (IndexError, TypeError, UnicodeError, msgspec.MsgspecError):
            return None

    async def newest_events(
        self, epochs: dict[int, int], count: int, wanted: Callable[[EventRecord], bool]
    ) -> list[tuple[int, EventRecord]]:
        """Those of the newest `count` records of each partition in `epochs` (its claim in force) that are wanted.

        With their partitions, in the order of each; void records are left out. What does not come in `READ_S` is
        missing.

        Raises:
            ReadError: the broker did not say where the partitions end.
        """
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read_newest, epochs, count, wanted)

    def _read_newest(
        self, epochs: dict[int, int], count: int, wanted: Callable[[EventRecord], bool]
    ) -> list[tuple[int, EventRecord]]:
        found: list[tuple[int, EventRecord]] = []
        fences: dict[int, Fence] = {}
        places, ends = {}, {}

        def take(message: Message) -> None:
            try:
                record = decode_record(
                    offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
                )
            except RecordError:
                return
            partition = message.partition()
            if fences[partition].admits(record) and isinstance(record, EventRecord) and wanted(record):
                found.append((partition, record))

        with consumer.reader(self._bootstrap) as reader:
            for p, epoch in epochs.items():
                low, ends[p] = consumer.offsets(reader, topics.EVENTS, p, ASK_S)
                places[p] = max(low, ends[p] - count)
                fences[p] = Fence(epoch if places[p] > epoch else -1)
            _read_all(reader, topics.EVENTS, places, ends, take)
        return found


def _read_all(
    reader: Consumer, topic: str, places: dict[int, int], ends: dict[int, int], take: Callable[[Message], object]
) -> set[int]:
    """Give the records from `places` up to `ends`, all partitions at once; those that did not end in `READ_S`."""
    left = {p for p, start in places.items() if start < ends[p]}
    if not left:
        return left
    reader.assign([TopicPartition(topic, p, places[p]) for p in sorted(left)])
    deadline = monotonic() + READ_S
    while left and monotonic() < deadline:
        # `consume(n, t)` alone would wait the whole t unless n records come (design §5).
        first = reader.poll(0.05)
        for message in (first, *reader.consume(BATCH, 0)) if first is not None else ():
            partition = message.partition()
            if message.error() is not None or partition not in left:
                continue
            if message.offset() < ends[partition]:
                take(message)
            if message.offset() + 1 >= ends[partition]:
                left.discard(partition)
        # Compaction leaves offsets without a record, also at the end.
        left -= {at.partition for at in reader.position(reader.assignment()) if at.offset >= ends.get(at.partition, 0)}
    return left


def now_ms() -> int:
    """This machine's clock, for ages of the broker's instants."""
    return time.time_ns() // 1_000_000
