"""Announces who came and went to the signals topic, for all partitions of a worker (protocol §5).

Signals have a producer of their own. The events' one may not give up a record, and one that the broker refuses ends it:
a signal must neither hold an event up nor fail a partition (docs/adr/025).
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from agents.presence import PartitionPresence
from app.kafka import topics
from app.kafka.producer import Headers, QueueFullError, Report
from app.presence import Announcement, announcement_headers, encode_announcement
from app.telemetry import logger

log = logger("presence")

TICK_S = 0.05
WARN_EVERY_S = 10.0
# What cannot be delivered for so long is announced anew, as it is by then.
SIGNALS_PRODUCER: dict[str, Any] = {
    "enable.idempotence": False,
    "enable.gapless.guarantee": False,
    "acks": 1,
    "message.timeout.ms": 5_000,
    "queue.buffering.max.kbytes": 16_384,
}
QUEUED_RECORDS = 5_000


class SignalProducer(Protocol):
    """What the announcer needs of a producer; `app.kafka.producer.Producer` is one."""

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
        """Queue a record; raises QueueFullError or KafkaException if it was not queued."""


class Announcing(Protocol):
    """A partition, as it is seen here."""

    number: int
    presence: PartitionPresence

    @property
    def epoch(self) -> int:
        """The owner's claim: readers void what an earlier one announces (design I4)."""


class Announcer:
    """`opened` gives the partitions that this worker serves."""

    def __init__(
        self,
        producer: SignalProducer,
        opened: Callable[[], Iterable[Announcing]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0
        self._producer = producer
        self._opened = opened
        self._clock = clock
        self._warned_at = -WARN_EVERY_S

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.announce()
            except Exception:  # an edge: presence is soft, and says nothing about the events
                self.lost += 1
                log.exception("presence could not be announced")

    def announce(self) -> None:
        """Announce what is due now."""
        now = self._clock()
        for partition in self._opened():
            presence = partition.presence
            presence.sweep(now)
            due = presence.due(now)
            first = presence.announced - len(due) + 1
            for number, announcement in enumerate(due, first):
                self._produce(partition, announcement, number)

    def _produce(self, partition: Announcing, announcement: Announcement, number: int) -> None:
        def report(_offset: int | None, error: KafkaError | None) -> None:
            if error is not None:
                self._on_lost(partition, announcement, error.str())

        try:
            self._producer.produce(
                topics.SIGNALS,
                partition.number,
                key=announcement.group.encode(),
                value=encode_announcement(announcement),
                headers=announcement_headers(partition.epoch, number),
                report=report,
            )
        except (QueueFullError, KafkaException) as refused:
            self._on_lost(partition, announcement, str(refused))

    def _on_lost(self, partition: Announcing, announcement: Announcement, why: str) -> None:
        self.lost += 1
        now = self._clock()
        partition.presence.undelivered(announcement, now)
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            log.warning("announcements are lost, and made again", partition=partition.number, lost=self.lost, why=why)
