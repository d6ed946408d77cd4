"""Where the way out to RabbitMQ stands in each partition of the log, and where it may begin (design I4, model.md H3).

A position is committed to a Kafka consumer group: the offset of the next record, and as the commit's metadata the epoch
in force there and the log's id, `"<epoch> <log id>"`. An offset alone is no place in this log.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.kafka import consumer as kafka
from app.kafka import topics
from app.kafka.topics import Layout
from app.log.records import ClaimRecord, decode_record
from app.owners import parse_owner, supersedes
from app.reads import OwnerRecord
from app.telemetry import logger

# How far the epoch is looked for, where retention took the claim that tells it: what an owner that was replaced writes
# late stands right behind the claim of the next one.
LOOK_AHEAD = 10_000

_log = logger("bridge")


class PositionError(kafka.ReadError):
    """A position that may not be gone on from; the message says what an operator has to do."""


class Place(NamedTuple):
    """A place in one partition: the offset of the next record, and the highest claim before it (-1: none)."""

    offset: int
    epoch: int


class Committed(NamedTuple):
    """What the consumer group holds for a partition."""

    offset: int
    metadata: str


class Bounds(NamedTuple):
    """The first offset that a partition keeps, and the one that its next record gets."""

    low: int
    end: int


def metadata_of(place: Place, log_id: str) -> str:
    """What stands beside a committed offset.

    >>> metadata_of(Place(12, 7), "rk3f")
    '7 rk3f'
    """
    return f"{place.epoch} {log_id}"


def group_id(app_id: str) -> str:
    """The consumer group that holds the positions, and shares the partitions among bridges."""
    return f"{app_id}-amqp-out"


def place_of(partition: int, committed: Committed, bounds: Bounds, log_id: str, group: str) -> Place:
    """The committed place, which may lie before `bounds.low`.

    Raises:
        PositionError: it is in another log, beyond this one's end, or was not written by a bridge.
    """
    at = f"{topics.EVENTS}/{partition}: consumer group {group}"
    epoch, _, log = committed.metadata.partition(" ")
    if not log or not epoch.lstrip("-").isdigit():
        raise PositionError(
            f"{at} has offset {committed.offset} without an epoch: no bridge committed it. Delete the group to begin "
            "where AUERBACH_AMQP_EVENTS_FROM says"
        )
    if log != log_id:
        raise PositionError(
            f"{at} stands in log {log}, this one is {log_id}: the log was replaced. Delete the group to begin where "
            "AUERBACH_AMQP_EVENTS_FROM says"
        )
    if committed.offset > bounds.end:
        raise PositionError(
            f"{at} has published up to offset {committed.offset}, the log ends at {bounds.end}: it was lost or put "
            "back to an older copy (docs/runbook.md says what to do)"
        )
    return Place(committed.offset, int(epoch))


class Log:
    """The log as it was when the bridge began to read it: each partition's bounds, and places where a reader may start.

    Everything here blocks; `bounds` are taken after the owners, so that none names a place beyond them.
    """

    def __init__(self, bootstrap: str, layout: Layout) -> None:
        """Look at the log.

        Raises:
            ReadError: the broker did not answer in time.
        """
        self._bootstrap = bootstrap
        self._layout = layout
        with kafka.reader(bootstrap) as consumer:
            self.owners = current_owners(consumer, layout)
            self.bounds = {p: Bounds(*kafka.offsets(consumer, topics.EVENTS, p)) for p in range(layout.partitions)}

    def begin(self, partition: int, *, earliest: bool) -> Place:
        """Where a bridge starts that never published anything of the partition.

        `earliest`: at the oldest record that is kept; else at the end as it was when this was made.

        Raises:
            ReadError: the partition could not be read.
        """
        low, end = self.bounds[partition]
        if earliest:
            return self.oldest(partition, low, epoch=-1)
        owner = self.owners.get(partition)
        start = Place(owner.offset, owner.epoch) if owner is not None and low <= owner.offset <= end else Place(low, -1)
        epochs = (claim for claim, _ in self._epochs(partition, start.offset, end) if claim is not None)
        return Place(end, max(epochs, default=start.epoch))

    def oldest(self, partition: int, low: int, epoch: int) -> Place:
        """The oldest record that is kept, with the best that is known of the epoch there.

        `epoch` is what was known further back. The claim in force may be gone with what retention took: the records up
        to the next claim tell it, because the owner in force wrote most of them, and none has a higher one.

        Raises:
            ReadError: the partition could not be read.
        """
        owner = self.owners.get(partition)
        if owner is not None and owner.offset <= low:
            epoch = max(epoch, owner.epoch)
        if low == 0:
            return Place(0, -1)
        for claim, said in self._epochs(partition, low, min(self.bounds[partition].end, low + LOOK_AHEAD)):
            if claim is not None:
                break
            epoch = max(epoch, said)
        return Place(low, epoch)

    def resume(self, partition: int, committed: Committed, group: str) -> Place:
        """The place to go on from; what retention took before it was published is told as an error, and passed over.

        Raises:
            PositionError: as `place_of`.
            ReadError: the partition could not be read.
        """
        with kafka.reader(self._bootstrap) as consumer:
            bounds = Bounds(*kafka.offsets(consumer, topics.EVENTS, partition))
        place = place_of(partition, committed, bounds, self._layout.log_id, group)
        if place.offset >= bounds.low:
            return place
        _log.error(
            "records were deleted from the log before they were published; going on from the oldest",
            partition=partition,
            records=bounds.low - place.offset,
            published_up_to=place.offset,
            oldest=bounds.low,
        )
        return self.oldest(partition, bounds.low, place.epoch)

    def _epochs(self, partition: int, start: int, end: int) -> Iterator[tuple[int | None, int]]:
        """Of each record: the epoch that it claims, if it is a claim, and the one that it was written with."""
        with kafka.reader(self._bootstrap) as consumer:
            for message in kafka.read(consumer, topics.EVENTS, partition, start, end):
                record = decode_record(
                    offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
                )
                yield (record.offset, -1) if isinstance(record, ClaimRecord) else (None, record.epoch)


def committed_places(
    consumer: Consumer, partitions: list[int], stopped: Callable[[], bool], timeout_s: float = 10
) -> dict[int, Committed]:
    """What the consumer's group has committed, for those of the partitions that it has.

    Raises:
        ReadError: the group's coordinator did not say in `timeout_s`.
    """
    if stopped():
        raise kafka.ReadError("stopped")
    try:
        found = consumer.committed([TopicPartition(topics.EVENTS, p) for p in partitions], timeout=timeout_s)
    except KafkaException as failed:
        raise kafka.ReadError(f"the committed positions: {failed.args[0].str()}") from failed
    for each in found:
        if each.error is not None:
            raise kafka.ReadError(f"{topics.EVENTS}/{each.partition}: its committed position: {each.error.str()}")
    return {each.partition: Committed(each.offset, each.metadata or "") for each in found if each.offset >= 0}


def current_owners(consumer: Consumer, layout: Layout) -> dict[int, OwnerRecord]:
    owners: dict[int, OwnerRecord] = {}
    for p in range(layout.partitions):
        low, high = kafka.offsets(consumer, topics.OWNERS, p)
        for message in kafka.read(consumer, topics.OWNERS, p, low, high):
            named = parse_owner(message.key(), message.value())
            if named is not None and supersedes(owners.get(named[0]), named[1], layout.log_id):
                owners[named[0]] = named[1]
    return owners
