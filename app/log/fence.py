"""The fence: who may be believed in a partition (design I4, rule F1)."""

from confluent_kafka import Message

from app.log.records import ClaimRecord, EventRecord, decode_record


class Fence:
    """The highest claim seen in one partition.

    A reader that does not start at offset 0 starts from a pair (offset, epoch in force there): started from a
    bare offset behind a claim, it would believe the records of the owner before (model.md H3).
    """

    __slots__ = ("epoch",)

    def __init__(self, epoch: int = -1) -> None:
        self.epoch = epoch

    def admits(self, record: EventRecord | ClaimRecord) -> bool:
        """Take in the next record of the partition; whether it counts. A claim always does."""
        if isinstance(record, ClaimRecord):
            self.epoch = max(self.epoch, record.offset)
            return True
        return record.epoch >= self.epoch


def valid_event(message: Message, fence: Fence) -> EventRecord | None:
    """The event of a partition's next record; None for a claim and for what the fence voids.

    Raises:
        app.log.records.RecordError: it is neither an event nor a claim.
    """
    record = decode_record(offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers())
    return record if fence.admits(record) and isinstance(record, EventRecord) else None
