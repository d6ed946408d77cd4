"""The consumer group's committed offsets against the commands that are there, before a processor joins (design §3).

Kafka's clients would move a position that is not in the log to its start without a word: from beyond the end, where
it tells that commands were lost or the log put back to an older copy, and from before the start alike.
"""

import logging
import time
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from app.kafka.consumer import settings
from app.kafka.leaders import wait_led
from app.kafka.topics import COMMANDS, Layout, TopicsError

_POLL_S = 0.2
# What a broker says that has just started, or that never had a group.
_NOT_YET = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}

_log = logging.getLogger("positions")


class PositionsError(TopicsError):
    """A remembered position lies beyond its log's end; the message names each partition with both offsets."""


class Position(NamedTuple):
    """Where the consumer group stands in a partition of the commands, and what is there: `start` ≤ offset < `end`."""

    partition: int
    start: int
    committed: int
    end: int


def check(bootstrap: str, app_id: str, layout: Layout, timeout_s: float = 30) -> None:
    """Refuse to go on from a position that the log does not reach.

    Commands that were deleted before they were decided are said as an error, and passed over: they cannot come back.

    Raises:
        PositionsError: a committed offset lies beyond the end.
        TopicsError: the broker did not answer in `timeout_s`.
    """
    positions = committed(bootstrap, app_id, layout.partitions, timeout_s)
    beyond = [
        f"{COMMANDS}/{p.partition}: consumer group {app_id} has decided up to offset {p.committed}, "
        f"the log ends at {p.end}; it was lost or put back to an older copy (docs/runbook.md says what to do)"
        for p in positions
        if p.committed > p.end
    ]
    if beyond:
        raise PositionsError("\n".join(beyond))
    for p in positions:
        if p.committed < p.start:
            _log.error(
                "%s/%d: %d commands were deleted before they were decided: decided up to offset %d, "
                "the log begins at %d; going on from there",
                COMMANDS,
                p.partition,
                p.start - p.committed,
                p.committed,
                p.start,
            )


def committed(bootstrap: str, app_id: str, partitions: int, timeout_s: float = 30) -> list[Position]:
    """The position of each partition for which the consumer group has committed an offset.

    Raises:
        TopicsError: the broker did not answer in `timeout_s`.
    """
    # A consumer of the group that never joins it: the admin client's `list_consumer_group_offsets` gives up while a
    # broker that has just started reads what was committed, and may take the process along (confluent-kafka 2.16).
    consumer = Consumer(settings(bootstrap, **{"group.id": app_id}))
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wait_led(bootstrap, [COMMANDS], partitions, timeout_s)
    try:
        # In this order, so that a processor that is at work meanwhile does not look as if it stood outside of the log:
        # what it commits lies at or after a start that was asked before, and at or before an end that is asked later.
        starts = _offsets(admin, partitions, OffsetSpec.earliest(), timeout_s)
        group = _of_group(consumer, partitions, timeout_s)
        ends = _offsets(admin, partitions, OffsetSpec.latest(), timeout_s)
    except KafkaException as failed:
        raise TopicsError(f"{bootstrap}: {failed.args[0].str()}") from failed
    finally:
        consumer.close()
    return [
        Position(each.partition, starts[each.partition], each.offset, ends[each.partition])
        for each in group
        if each.offset >= 0
    ]


def _of_group(consumer: Consumer, partitions: int, timeout_s: float) -> list[TopicPartition]:
    """What the group has committed; negative where it has not.

    Raises:
        KafkaException: the group's coordinator did not say in `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            group: list[TopicPartition] = consumer.committed(_places(partitions), timeout=timeout_s)
            for each in group:
                if each.error is not None:
                    raise KafkaException(each.error)
        except KafkaException as failed:
            if failed.args[0].code() not in _NOT_YET or time.monotonic() > deadline:
                raise
        else:
            return group
        time.sleep(_POLL_S)


def _places(partitions: int) -> list[TopicPartition]:
    # New ones for each request: they come back with its offsets in them.
    return [TopicPartition(COMMANDS, partition) for partition in range(partitions)]


def _offsets(admin: AdminClient, partitions: int, spec: OffsetSpec, timeout_s: float) -> dict[int, int]:
    asked: dict[TopicPartition, Future[Any]] = admin.list_offsets(
        dict.fromkeys(_places(partitions), spec), request_timeout=timeout_s
    )
    return {place.partition: future.result(timeout=timeout_s).offset for place, future in asked.items()}
