"""The one consumer of a gateway: a thread that reads the log and hands batches to the loop (design §5)."""

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.kafka import consumer as kafka
from app.kafka import topics
from app.kafka.topics import Layout
from app.owners import parse_owner, supersedes
from app.reads import OwnerRecord
from app.revocations import Revocation, parse_revocation
from app.telemetry import logger
from web import metrics

BATCH = 500
# Batches on their way to the loop: beyond it the thread waits, and librdkafka's own bounds stop the fetching.
BATCHES_AHEAD = 4
OPEN_S = 60.0
CLOSE_S = 2.0
OBSERVE_S = 1.0

_log = logger("web")

# What a reader cannot go on after: the log is not the one it began to read.
_FATAL = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - its public name
    KafkaError.OFFSET_OUT_OF_RANGE,
}


class OtherLogError(kafka.ReadError):
    """The log ends before a place that was written down: it is not the one that place is in."""


class RawRecord(Protocol):
    """A record as it was read; confluent_kafka's Message is one."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...
    def timestamp(self) -> tuple[int, int]: ...


@dataclass(slots=True, frozen=True)
class Start:
    """Where reading begins: the owners and revocations known then, and each events partition's (offset, epoch), end."""

    owners: dict[int, OwnerRecord] = field(default_factory=dict)
    events: dict[int, tuple[int, int]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    revocations: list[Revocation] = field(default_factory=list)


class Receiver(Protocol):
    """Who takes what is read, on the loop."""

    def begin(self, start: Start) -> None:
        """Called once, before any batch."""

    def take(self, records: list[RawRecord]) -> None:
        """The next records, in order within each partition."""


class LogReader:
    """Reads all partitions of the events, replies, signals, owners and revocations topics, assigned by hand.

    Events of a partition are read from the place that its latest owner record names, with the epoch in force there;
    without a record from offset 0. Replies and signals are read from the end: those for this process are yet to come.
    """

    def __init__(
        self, bootstrap: str, layout: Layout, receiver: Receiver, on_fatal: Callable[[Exception], None]
    ) -> None:
        self._bootstrap = bootstrap
        self._layout = layout
        self._receiver = receiver
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self._room = threading.Semaphore(BATCHES_AHEAD)
        self._thread = threading.Thread(target=self._run, name="log-reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def close(self) -> None:
        """Stop reading and wait for the thread, but not for a broker that it waits for."""
        self._closing.set()
        await self._loop.run_in_executor(None, self._thread.join, CLOSE_S)

    def _run(self) -> None:
        consumer = Consumer(kafka.settings(self._bootstrap))
        try:
            start = self._open_patiently(consumer)
            self._on_loop(self._receiver.begin, start)
            observed_at = monotonic()
            while not self._closing.is_set():
                self._read_once(consumer)
                if monotonic() - observed_at >= OBSERVE_S:
                    observed_at = monotonic()
                    self._observe_lag(consumer)
        except (kafka.ReadError, KafkaException) as failed:
            self._on_loop(self._on_fatal, kafka.ReadError(f"the log cannot be read on: {failed}"))
        except Exception as failed:  # noqa: BLE001 - an edge: a thread that ends silently would leave a deaf gateway
            metrics.ERRORS.labels("log_reader").inc()
            self._on_loop(self._on_fatal, failed)
        finally:
            consumer.close()

    def _open_patiently(self, consumer: Consumer) -> Start:
        """Open when the broker answers: partitions just made, or whose broker starts again, have no leader yet."""
        until = monotonic() + OPEN_S
        while True:
            try:
                return self._open(consumer)
            except OtherLogError:
                raise
            except kafka.ReadError as failed:
                if monotonic() > until or self._closing.wait(random.uniform(0.2, 0.5)):
                    raise
                _log.warning("the log cannot be opened yet", why=str(failed))

    def _open(self, consumer: Consumer) -> Start:
        partitions = range(self._layout.partitions)
        # Replies first: none that answers a command of this process may come before the place where reading begins.
        replies = [TopicPartition(topics.REPLIES, p, kafka.offsets(consumer, topics.REPLIES, p)[1]) for p in partitions]
        start = Start()
        # Signals are of now: who is online is told by owners, and what changes after that is read from here.
        signals = [TopicPartition(topics.SIGNALS, p, kafka.offsets(consumer, topics.SIGNALS, p)[1]) for p in partitions]
        owner_places = []
        for p in partitions:
            low, high = kafka.offsets(consumer, topics.OWNERS, p)
            for message in kafka.read(consumer, topics.OWNERS, p, low, high):
                named = parse_owner(message.key(), message.value())
                if named is not None and supersedes(start.owners.get(named[0]), named[1], self._layout.log_id):
                    start.owners[named[0]] = named[1]
            owner_places.append(TopicPartition(topics.OWNERS, p, high))
        revocation_places = []
        for p in partitions:
            low, high = kafka.offsets(consumer, topics.REVOCATIONS, p)
            for message in kafka.read(consumer, topics.REVOCATIONS, p, low, high):
                told = parse_revocation(message.key(), message.value())
                if told is not None:
                    start.revocations.append(told)
            revocation_places.append(TopicPartition(topics.REVOCATIONS, p, high))
        event_places = []
        for p in partitions:
            low, end = kafka.offsets(consumer, topics.EVENTS, p)
            owner = start.owners.get(p)
            offset, epoch = (owner.offset, owner.epoch) if owner is not None else (low, -1)
            if offset > end:
                raise OtherLogError(f"{topics.EVENTS}/{p} ends at {end}, its owner record names {offset}: another log?")
            # Retention may have taken what was behind the record of an owner that has written nothing since.
            offset = max(offset, low)
            start.events[p], start.ends[p] = (offset, epoch), end
            event_places.append(TopicPartition(topics.EVENTS, p, offset))
        consumer.assign([*replies, *signals, *owner_places, *revocation_places, *event_places])
        return start

    def _read_once(self, consumer: Consumer) -> None:
        # `consume(n, t)` would wait the whole t unless n records come (design §5).
        first = consumer.poll(0.1)
        if first is None:
            return
        records = []
        for message in (first, *consumer.consume(BATCH, 0)):
            error = message.error()
            if error is None:
                records.append(message)
            elif error.fatal() or error.code() in _FATAL:
                raise kafka.ReadError(f"{message.topic()}/{message.partition()}: {error.str()}")
            else:
                metrics.LOG_RECORDS.labels(message.topic() or "none", "error").inc()
                _log.warning("reading the log", error=error.str())
        if records:
            while not self._room.acquire(timeout=0.1):
                if self._closing.is_set():
                    return
            self._on_loop(self._hand_over, records)

    def _observe_lag(self, consumer: Consumer) -> None:
        """From what librdkafka knows already: no request is made."""
        places = consumer.position([TopicPartition(topics.EVENTS, p) for p in range(self._layout.partitions)])
        ends = (consumer.get_watermark_offsets(place, cached=True)[1] for place in places)
        lags = (end - place.offset for end, place in zip(ends, places, strict=True) if place.offset >= 0)
        metrics.READER_LAG.set(sum(max(0, lag) for lag in lags))

    def _hand_over(self, records: list[RawRecord]) -> None:
        self._room.release()
        try:
            self._receiver.take(records)
        except Exception as failed:  # noqa: BLE001 - an edge: whoever misses a record may believe void ones later
            metrics.ERRORS.labels("intake").inc()
            self._on_fatal(failed)

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            self._closing.set()  # the loop is closed: nobody is left to tell
