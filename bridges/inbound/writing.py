"""From deliveries to records on disk, and back: what was written is acknowledged, nothing before."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPError
from confluent_kafka import KafkaError, KafkaException

from app.domain.commands import encode_command
from app.kafka import topics
from app.kafka.partition import partition_for
from app.kafka.producer import Headers, Producer, QueueFullError
from bridges.connection import LostError
from bridges.inbound import metrics
from bridges.inbound.ledger import Ledger
from bridges.inbound.updates import Reason, Update

RECORD_BYTES = 256 * 1024
GATHER_S = 0.002


@dataclass(slots=True)
class _Batch:
    """Commands of one partition that leave as one record, and the deliveries that they came from."""

    key: bytes
    commands: list[bytes] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    size: int = 2


class Writing:
    """One session's way from its channel to Kafka.

    Deliveries of one group stay in order: they have one partition, and a partition's records are produced in order by
    a producer that never delivers around a gap. Bounded by the prefetch: RabbitMQ gives out nothing more.
    """

    def __init__(self, queue: str, producer: Producer, layout: topics.Layout, channel: AbstractChannel) -> None:
        self._producer = producer
        self._partitions = layout.partitions
        self._channel = channel
        self._aside = partition_for(queue.encode(), layout.partitions)
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger()
        self._batches: dict[int, _Batch] = {}
        self._gathering = False
        # Records that the producer's queue had no room for; as few as deliveries, which the prefetch bounds.
        self._waiting: deque[tuple[str, int, bytes | None, bytes, Headers, list[int]]] = deque()
        self._settled: list[int] = []
        self._acking: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._empty.set()
        # Fails once something cannot be written or acknowledged: from then on nothing is.
        self.failed: asyncio.Future[None] = self._loop.create_future()

    def __len__(self) -> int:
        """Deliveries that are not acknowledged yet."""
        return len(self._ledger)

    def oldest_s(self) -> float:
        """How long the oldest of them has been waiting."""
        return self._ledger.oldest_s(self._loop.time())

    def add(self, tag: int, update: Update) -> None:
        """Write the commands of a delivery."""
        if not self._begin(tag):
            return
        metrics.MESSAGES.labels("command").inc()
        encoded = [encode_command(command) for command in update.commands]
        key = update.group.encode()
        partition = partition_for(key, self._partitions)
        size = sum(map(len, encoded)) + len(encoded)
        batch = self._batches.get(partition)
        if batch is not None and batch.size + size > RECORD_BYTES:
            self._send(partition, self._batches.pop(partition))
            batch = None
        if batch is None:
            batch = self._batches[partition] = _Batch(key)
        batch.commands += encoded
        batch.size += size
        batch.tags.append(tag)
        if not self._gathering:
            self._gathering = True
            self._loop.call_later(GATHER_S, self._gathered)

    def put_aside(self, tag: int, reason: Reason, value: bytes, headers: Headers) -> None:
        """Write a delivery as a dead letter."""
        if not self._begin(tag):
            return
        metrics.MESSAGES.labels("dead letter").inc()
        metrics.DEAD_LETTERS.labels(reason).inc()
        self._produce(topics.DEAD_LETTERS, self._aside, None, value, headers, [tag])

    async def finished(self) -> None:
        """Wait until all that was delivered is acknowledged; the caller bounds it.

        Raises:
            LostError: something could not be written or acknowledged.
        """
        empty = asyncio.ensure_future(self._empty.wait())
        ends: set[asyncio.Future[Any]] = {empty, self.failed}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self.failed.done():
                self.failed.result()
        finally:
            empty.cancel()

    def end(self) -> None:
        """The session is over: reports that still come tell nobody anything."""
        if not self.failed.done():
            self.failed.cancel()
        elif not self.failed.cancelled():
            self.failed.exception()  # looked at, if nobody has
        if self._acking is not None:
            self._acking.cancel()

    def _begin(self, tag: int) -> bool:
        if self.failed.done():
            return False  # it comes again
        self._ledger.add(tag, self._loop.time())
        self._empty.clear()
        metrics.OPEN.set(len(self._ledger))
        return True

    def _gathered(self) -> None:
        self._gathering = False
        batches, self._batches = self._batches, {}
        for partition, batch in batches.items():
            self._send(partition, batch)

    def _send(self, partition: int, batch: _Batch) -> None:
        one = len(batch.commands) == 1
        value = batch.commands[0] if one else b"[" + b",".join(batch.commands) + b"]"
        metrics.RECORDS.inc()
        self._produce(topics.COMMANDS, partition, batch.key, value, [], batch.tags)

    def _produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers, tags: list[int]
    ) -> None:
        self._waiting.append((topic, partition, key, value, headers, tags))
        self._produce_waiting()

    def _produce_waiting(self) -> None:
        """Hand over what waits, in order; where the producer's queue is full, the next report goes on with it."""
        while self._waiting and not self.failed.done():
            topic, partition, key, value, headers, tags = self._waiting[0]
            report = self._reporter(topic, tags)
            try:
                self._producer.produce(topic, partition, key=key, value=value, headers=headers, report=report)
            except QueueFullError:
                return
            except KafkaException as refused:
                self._fail(f"Kafka: {topic}/{partition}: {refused.args[0].str()}")
            self._waiting.popleft()

    def _reporter(self, topic: str, tags: list[int]) -> Callable[[int | None, KafkaError | None], None]:
        def report(offset: int | None, error: KafkaError | None) -> None:
            if self.failed.done():
                return
            if error is not None or offset is None:
                self._fail(f"Kafka: {topic}: {error.str() if error is not None else 'a report without an offset'}")
                return
            self._settled += tags
            self._produce_waiting()
            if self._acking is None:
                self._acking = self._loop.create_task(self._acknowledge(), name="acknowledging")

        return report

    async def _acknowledge(self) -> None:
        """Acknowledge all up to the first that is not written, as often as more was written meanwhile."""
        try:
            while self._settled and not self.failed.done():
                settled, self._settled = self._settled, []
                through = self._ledger.settle(settled)
                if through is not None:
                    await self._channel.basic_ack(through, multiple=True)
                metrics.OPEN.set(len(self._ledger))
                if not self._ledger:
                    self._empty.set()
        except (AMQPError, OSError, RuntimeError) as lost:
            self._fail(f"RabbitMQ: an acknowledgement could not be sent: {lost!r}")
        finally:
            self._acking = None

    def _fail(self, why: str) -> None:
        with suppress(asyncio.InvalidStateError):
            self.failed.set_exception(LostError(why))
