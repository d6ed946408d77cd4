"""A producer whose delivery reports arrive on the event loop, one wake-up a batch of them."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as RdProducer

from app.kafka.client_log import client_settings

Headers = list[tuple[str, bytes]]
# (the record's offset or None, the error or None). No offset proves nothing: read the log.
Report = Callable[[int | None, KafkaError | None], None]


class QueueFullError(Exception):
    """The producer's queue is at its bound: an error to who asked, never memory (design I7)."""


class Producer:
    """librdkafka's idempotent producer for one event loop.

    Records are never dropped for their age and never delivered around a gap (`message.timeout.ms=0`,
    `enable.gapless.guarantee`): librdkafka would otherwise drop a timed-out record and still send the later
    ones, a hole in the log (model.md H2). A deadline is the caller's, and ends the process (docs/adr/008).
    """

    def __init__(self, bootstrap: str, *, queue_records: int = 100_000, extra: dict[str, Any] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports: deque[tuple[Report, int | None, KafkaError | None]] = deque()
        self._woken = False
        self._closing = threading.Event()
        self._rd = RdProducer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "message.timeout.ms": 0,
                "acks": "all",
                "linger.ms": 0,
                # While five messages of a partition are under way and a sixth waits, librdkafka's idempotent producer
                # looks again without end: up to a whole core, while the broker is slow. It does not where a request
                # waits for the connection, as with one under way it does where several partitions are at work
                # (docs/adr/023). The broker serves one request of a connection at a time anyway.
                "max.in.flight": 1,
                "queue.buffering.max.messages": queue_records,
                "message.max.bytes": 1_048_576 + 65_536,
                "partitioner": "murmur2_random",
                **client_settings(),
                **(extra or {}),
            }
        )
        self._poller = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._poller.start()

    def produce(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        report: Report | None = None,
    ) -> None:
        """Queue a record; `report` is called on the loop, in order for each partition.

        Raises:
            QueueFullError: the queue is at its bound; nothing was queued.
            KafkaException: the producer is at its end (a fatal error, or a record over the limits).
        """
        try:
            self._rd.produce(
                topic,
                value=value,
                key=key,
                partition=partition,
                headers=headers or [],
                on_delivery=self._reporter(report) if report is not None else None,
            )
        except BufferError:
            raise QueueFullError(topic) from None

    def produce_all(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]], report: Report | None = None
    ) -> None:
        """Queue (key, value) of records in one call, which takes no headers; `report` is called for the last one.

        Raises:
            QueueFullError, KafkaException: as in `produce`; some of the records may be queued.
        """
        if not records:
            return
        messages: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in records]
        if report is not None:
            messages[-1]["callback"] = self._reporter(report)
        try:
            queued = self._rd.produce_batch(topic, messages, partition)
        except BufferError:
            raise QueueFullError(topic) from None
        if queued != len(messages):
            raise QueueFullError(topic)

    def send(
        self, topic: str, partition: int, *, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> asyncio.Future[int]:
        """Queue a record; the future of its offset, which fails with `DeliveryError`.

        Raises:
            QueueFullError, KafkaException: as in `produce`.
        """
        delivered, report = self._awaited(topic, partition)
        self.produce(topic, partition, key=key, value=value, headers=headers, report=report)
        return delivered

    def send_all(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]], deletion: Headers
    ) -> asyncio.Future[int]:
        """Queue (key, value) of many records, at least one; the future of the last one's offset.

        `deletion`: the headers of records without a value.

        One report speaks for all: a partition's records are delivered in order, and none behind a gap. So only one
        comes to the loop, and what has no headers is queued in one call: a row of a flush costs a fifth of a `send`.

        Raises:
            QueueFullError, KafkaException: as in `produce`; some of the records may be queued.
        """
        delivered, report = self._awaited(topic, partition)
        start = 0
        for at, (key, value) in enumerate(records):
            if value is None:
                self.produce_all(topic, partition, records[start:at])
                start = at + 1
                last = report if start == len(records) else None
                self.produce(topic, partition, key=key, value=None, headers=deletion, report=last)
        self.produce_all(topic, partition, records[start:], report)
        return delivered

    async def deliver(
        self, topic: str, partition: int, *, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> int:
        """Queue a record and wait until the broker holds it; its offset.

        Raises:
            DeliveryError: it failed, or the report has no offset.
            QueueFullError: as in `produce`.
        """
        return await self.send(topic, partition, key=key, value=value, headers=headers)

    async def close(self, timeout_s: float) -> int:
        """Wait up to `timeout_s` for what is queued, then end; the number of records left behind."""
        left: int = await self._loop.run_in_executor(None, self._flush, timeout_s)
        self._closing.set()
        await self._loop.run_in_executor(None, self._poller.join)
        return left

    async def discard(self, timeout_s: float) -> None:
        """Drop what is queued, wait up to `timeout_s` for what is under way, and end; what is left is reported failed.

        What was left may arrive all the same: whoever writes the same again had better wait for it.
        """
        self._rd.purge(in_queue=True, in_flight=False, blocking=False)
        await self._loop.run_in_executor(None, self._flush, timeout_s)
        self._rd.purge(in_queue=True, in_flight=True, blocking=False)
        await self.close(timeout_s)

    def __len__(self) -> int:
        """Records queued or under way."""
        return len(self._rd)

    def _awaited(self, topic: str, partition: int) -> tuple[asyncio.Future[int], Report]:
        """A future of an offset, and the report that settles it."""
        delivered: asyncio.Future[int] = self._loop.create_future()

        def report(offset: int | None, error: KafkaError | None) -> None:
            if delivered.done():
                return
            if error is not None or offset is None:
                delivered.set_exception(DeliveryError(topic, partition, error))
            else:
                delivered.set_result(offset)

        return delivered, report

    def _reporter(self, report: Report) -> Callable[[KafkaError | None, Message], None]:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            self._reports.append((report, offset if offset is not None and offset >= 0 else None, error))

        return on_delivery

    def _poll(self) -> None:
        # A thread of its own: no timer on the loop, and one wake-up for each batch of reports.
        while not self._closing.is_set():
            self._poll_once(0.1)
            self._wake()
        self._poll_once(0)
        self._wake()

    def _poll_once(self, timeout_s: float) -> None:
        # A fatal error is raised here once, instead of being called back. The reports tell it, and they must go on.
        with suppress(KafkaException):
            self._rd.poll(timeout_s)

    def _flush(self, timeout_s: float) -> int:
        """Wait for what is queued; the number of records that are left. A fatal error is no reason to stop waiting."""
        deadline = monotonic() + timeout_s
        while True:
            try:
                return int(self._rd.flush(max(0.0, deadline - monotonic())))
            except KafkaException:
                if monotonic() > deadline:
                    return len(self._rd)

    def _wake(self) -> None:
        if self._reports and not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                self._closing.set()  # the loop is closed: nobody is left to tell

    def _drain(self) -> None:
        self._woken = False
        while self._reports:
            report, offset, error = self._reports.popleft()
            report(offset, error)


class DeliveryError(Exception):
    """A record that the broker did not take, or whose place it did not tell."""

    def __init__(self, topic: str, partition: int, error: KafkaError | None) -> None:
        said = error.str() if error is not None else "no offset in the report, or not one that is due"
        super().__init__(f"{topic}/{partition}: {said}")
