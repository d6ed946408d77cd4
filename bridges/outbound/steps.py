"""What a generation of partitions makes of what is read: steps, in order and without a hole (design I4, I5)."""

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Message

from app.domain.instants import to_ms
from app.kafka import consumer as kafka
from app.kafka import topics
from app.log.fence import Fence
from app.log.records import ClaimRecord, RecordError, decode_record
from bridges.outbound import metrics
from bridges.outbound.positions import Place, PositionError


class Item(NamedTuple):
    """An event that counts, to be published; `value` is its JSON, byte for byte. `at_ms`: since 1970."""

    partition: int
    offset: int
    epoch: int
    group: str
    seq: int
    kind: str
    id: str
    at_ms: int
    value: bytes


class Step(NamedTuple):
    """A partition is read up to `place`; `item` is the event right before it, None for what is none or is void."""

    partition: int
    place: Place
    item: Item | None


class Generation:
    """The partitions of one assignment: for each its fence, the offset that is due, and what was committed last."""

    def __init__(self, number: int, log_id: str, places: Mapping[int, Place]) -> None:
        """It begins at these places."""
        self.number = number
        self.committed: dict[int, Place] = {}
        self.log_id = log_id
        self._fences = {p: Fence(place.epoch) for p, place in places.items()}
        self._due = {p: place.offset for p, place in places.items()}

    @property
    def partitions(self) -> list[int]:
        """Its partitions."""
        return list(self._due)

    def is_next(self, message: Message) -> bool:
        """Whether the record is the next of its partition; those before it came late from an earlier generation.

        Raises:
            ReadError: records are missing before it. The log has no holes: nothing compacts it, nothing is
                transactional.
        """
        partition, offset = message.partition(), message.offset()
        due = self._due.get(partition)
        if due is None or offset < due:
            return False
        if offset > due:
            raise kafka.ReadError(f"{topics.EVENTS}/{partition}: {offset} came where {due} is due")
        self._due[partition] = offset + 1
        return True

    def step(self, message: Message) -> Step:
        """Take in the next record of a partition.

        Raises:
            RecordError: it is neither an event nor a claim.
            PositionError: a claim names another log.
        """
        partition, headers = message.partition(), message.headers()
        fence = self._fences[partition]
        record = decode_record(offset=message.offset(), key=message.key(), value=message.value(), headers=headers)
        admitted = fence.admits(record)
        place = Place(record.offset + 1, fence.epoch)
        if isinstance(record, ClaimRecord):
            if record.claim.log != self.log_id:
                raise PositionError(f"{topics.EVENTS}/{partition}: the claim at {record.offset} names another log")
            return Step(partition, place, None)
        if not admitted:
            metrics.EVENTS.labels("void").inc()
            return Step(partition, place, None)
        named = dict(headers or ())
        try:
            item = Item(
                partition,
                record.offset,
                record.epoch,
                record.group,
                record.seq,
                record.kind,
                (named["ce_id"] or b"").decode(),
                to_ms((named["ce_time"] or b"").decode()),
                record.value,
            )
        except (KeyError, ValueError) as bad:
            raise RecordError(f"{topics.EVENTS}/{partition}: offset {record.offset}: {bad!r}") from bad
        return Step(partition, place, item)


def joined(steps: list[Step]) -> list[Step]:
    """The same with runs of what is no event as one step each."""
    joined: list[Step] = []
    for step in steps:
        last = joined[-1] if joined else None
        if last is not None and step.item is None and last.item is None and last.partition == step.partition:
            joined[-1] = step
        else:
            joined.append(step)
    return joined
