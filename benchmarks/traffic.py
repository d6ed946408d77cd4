"""A steady driver of the processor: commands at a fixed rate in every partition, and when each one's event was read.

Commands leave one a record, paced by the clock and not by the answers, so that a stall is seen by every command that
falls into it. An event counts when a reader who fences like any other has it in hand.
"""

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from app.kafka import consumer, topics
from app.kafka.partition import partition_for
from app.log.fence import Fence
from app.log.records import EventRecord, decode_record
from benchmarks.lab import create, post, producer, record

DRAIN_S = 30
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Answered:
    """A command that became an event: its partition, when it was sent (monotonic, s), and how long that took."""

    partition: int
    sent: float
    took_s: float


class Traffic:
    """Sends `rate` commands a second in all, from `with` on; one group in each partition.

    `commands` and `events` are the topics: others than the service's where something else stands in its place.
    """

    def __init__(
        self,
        bootstrap: str,
        partitions: int,
        rate: float,
        *,
        commands: str = topics.COMMANDS,
        events: str = topics.EVENTS,
    ) -> None:
        self._commands, self._events = commands, events
        self._producer = producer(bootstrap)
        self._rate = rate
        # Names of its own: the log may hold the commands of a run before.
        self._run = secrets.token_hex(4)
        self._groups = [_group_of(self._run, partition, partitions) for partition in range(partitions)]
        self._sent: dict[str, tuple[int, float]] = {}
        self._answered: list[Answered] = []
        self._ended = threading.Event()
        self._reader = Consumer(consumer.settings(bootstrap))
        self._fences = [Fence() for _ in range(partitions)]
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._read)]

    def __enter__(self) -> Self:
        self._reader.assign([TopicPartition(self._events, p, 0) for p in range(len(self._groups))])
        for partition, group in enumerate(self._groups):
            self._producer.produce(self._commands, record([create(group, 10)]), group.encode(), partition)
        self._producer.flush(DRAIN_S)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(DRAIN_S)
        self._reader.close()

    def run(self, seconds: float) -> list[Answered]:
        """Go on for so long; what became of the commands that were sent meanwhile, once all are answered.

        Raises:
            RuntimeError: some are not, after `DRAIN_S` more.
        """
        began = time.monotonic()
        time.sleep(seconds)
        while not any(at >= began for _, at in list(self._sent.values())):
            time.sleep(0.01)  # the machine stood still for so long: go on until there is something to tell of
        ended = time.monotonic()
        deadline = ended + DRAIN_S
        while any(began <= at < ended for _, at in list(self._sent.values())):
            if time.monotonic() > deadline:
                raise RuntimeError(f"commands are still unanswered after {DRAIN_S} s")
            time.sleep(0.01)
        return [each for each in list(self._answered) if began <= each.sent < ended]

    def _send(self) -> None:
        due, number = time.monotonic(), 0
        while not self._ended.is_set():
            partition = number % len(self._groups)
            command = post(self._groups[partition], number, run=self._run)
            self._sent[command.id] = partition, time.monotonic()
            self._producer.produce(self._commands, record([command]), command.group.encode(), partition)
            self._producer.poll(0)
            number += 1
            due += 1 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))
        self._producer.flush(DRAIN_S)

    def _read(self) -> None:
        while not self._ended.is_set():
            # `consume` waits its whole time unless the batch is full: wait for one, then take what is there.
            first = self._reader.poll(0.1)
            messages = [first, *self._reader.consume(_BATCH, 0)] if first is not None else []
            now = time.monotonic()
            for message in messages:
                if message.error() is not None:
                    continue
                seen = decode_record(
                    offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
                )
                if self._fences[message.partition()].admits(seen) and isinstance(seen, EventRecord):
                    self._settle(seen.command_id, now)

    def _settle(self, command_id: str, now: float) -> None:
        sent = self._sent.pop(command_id, None)
        if sent is not None:
            partition, at = sent
            self._answered.append(Answered(partition, at, now - at))


def percentile(answered: Sequence[Answered], part: float) -> float:
    """The latency, seconds, that this part of the commands does not exceed."""
    ordered = sorted(each.took_s for each in answered)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def longest(answered: Sequence[Answered]) -> float:
    """The longest gap between a command and its event, seconds."""
    return max(each.took_s for each in answered)


def _group_of(run: str, partition: int, partitions: int) -> str:
    """A group in that partition."""
    number = 0
    while partition_for(f"{run}-{number}".encode(), partitions) != partition:
        number += 1
    return f"{run}-{number}"
