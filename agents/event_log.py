"""The owner's pen: appends one partition's events, and knows how far the log reaches (rules F1 and F2)."""

import asyncio
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError

from app.kafka import consumer, topics
from app.kafka.producer import DeliveryError, Producer
from app.log.records import ClaimRecord, Headers, decode_record
from tables.write_behind import FencedError

Delivered = Callable[[], None]

FOREIGN_S = 5.0  # without a record for this long, reading what others wrote has failed


class EventLog:
    """The only writer of one events partition, from its claim on.

    Being the only writer, each delivery report must be the offset after the one before. Where it jumps, somebody else
    wrote: the foreign records are read before anything of ours counts as delivered. A higher claim among them means
    that ours are void (fenced); only void records of older epochs are passed over.
    """

    def __init__(
        self, producer: Producer, bootstrap: str, partition: int, epoch: int, failed: Callable[[Exception], None]
    ) -> None:
        self._producer = producer
        self._bootstrap = bootstrap
        self._partition = partition
        self._failed = failed
        self.epoch = epoch
        self.next_offset = epoch + 1  # the next event offset behind all that is delivered
        self.appended = 0
        self.delivered = 0
        self._unsent: list[tuple[bytes, bytes, Headers]] = []
        self._unreported: list[Delivered] = []
        self._reports: deque[tuple[int, list[Delivered]]] = deque()  # the last offset of a batch, and whom to tell
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._marks: set[asyncio.Future[int]] = set()
        self._checking: asyncio.Task[None] | None = None

    def offset_after_all(self) -> asyncio.Future[int]:
        """The next event offset behind all that was appended until now, once that is delivered.

        Offsets cannot be counted: void records of others may stand between ours.
        """
        mark: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._marks.add(mark)
        mark.add_done_callback(self._marks.discard)

        def reached() -> None:
            if not mark.done():
                mark.set_result(self.next_offset)

        self.when_delivered(reached)
        return mark

    def when_delivered(self, then: Callable[[], None]) -> None:
        """Call `then` when all that was appended until now is on disk; in the order of asking, maybe at once."""
        if self.delivered == self.appended:
            then()
        else:
            self._waiting.append((self.appended, then))

    def abandon(self, why: Exception) -> None:
        """Nothing will be delivered any more: who waits for an offset gets `why`, what was to follow does not."""
        self._waiting.clear()
        for mark in list(self._marks):
            if not mark.done():
                mark.set_exception(why)
                mark.exception()  # a flush that fails earlier never asks

    def append(self, key: bytes, value: bytes, headers: Headers, delivered: Delivered) -> None:
        """Append an event, with the next `send`.

        `delivered` is called when it is on disk and no newer owner stands before it.
        """
        self._unsent.append((key, value, headers))
        self._unreported.append(delivered)
        self.appended += 1

    def send(self) -> None:
        """Hand what was appended to the broker. The last one's report speaks for all: they are delivered in order.

        Raises:
            app.kafka.producer.QueueFullError, confluent_kafka.KafkaException: some were certainly not appended.
        """
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, []
        delivered, self._unreported = self._unreported, []

        def report(offset: int | None, error: KafkaError | None) -> None:
            if error is not None or offset is None:
                # No offset proves nothing: only the log tells, and opening again reads it.
                self._failed(DeliveryError(topics.EVENTS, self._partition, error))
                return
            self._reports.append((offset, delivered))
            if self._checking is None:
                self._take_reports()

        for number, (key, value, headers) in enumerate(unsent, 1):
            self._producer.produce(
                topics.EVENTS,
                self._partition,
                key=key,
                value=value,
                headers=headers,
                report=report if number == len(unsent) else None,
            )

    async def cover(self, end: int) -> bool:
        """See to it that all records below `end` are ours or void; all of ours must be delivered before.

        False if the log does not reach `end`: whoever named it has seen another log.

        Raises:
            FencedError: a newer owner's claim is among them.
            app.kafka.consumer.ReadError: the broker did not deliver them.
        """
        while self._checking is not None:
            await asyncio.wait([self._checking])
        if self.next_offset < end:
            if not await asyncio.to_thread(self._look_for_a_claim, self.next_offset, end):
                return False
            self.next_offset = max(self.next_offset, end)
        return True

    def _take_reports(self) -> None:
        while self._reports:
            offset, delivered = self._reports[0]
            last = self.next_offset + len(delivered) - 1
            if offset < last:  # `cover` reads past what others wrote only when all of ours is delivered
                self._failed(DeliveryError(topics.EVENTS, self._partition, None))
                return
            if offset > last:
                self._checking = asyncio.create_task(self._check(offset, len(delivered)))
                return
            self._reports.popleft()
            self.next_offset = offset + 1
            self.delivered += len(delivered)
            for each in delivered:
                each()
            while self._waiting and self._waiting[0][0] <= self.delivered:
                self._waiting.popleft()[1]()

    async def _check(self, offset: int, ours: int) -> None:
        try:
            if not await asyncio.to_thread(self._look_for_a_claim, self.next_offset, offset):
                raise consumer.ReadError(f"{topics.EVENTS}/{self._partition} ends before {offset}, which was reported")
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self._failed(why)  # and nothing after the jump counts as delivered
            return
        finally:
            self._checking = None
        self.next_offset = offset - ours + 1  # as if all of ours stood behind all of the others'
        self._take_reports()

    def _look_for_a_claim(self, start: int, end: int) -> bool:
        """Read the records of others; whether the log reaches `end`."""
        with consumer.reader(self._bootstrap) as reader:
            if consumer.offsets(reader, topics.EVENTS, self._partition)[1] < end:
                return False
            for message in consumer.read(reader, topics.EVENTS, self._partition, start, end, FOREIGN_S):
                record = decode_record(
                    offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
                )
                if isinstance(record, ClaimRecord):
                    raise FencedError(f"{topics.EVENTS}/{self._partition}: claimed by {record.claim.worker}")
        return True
