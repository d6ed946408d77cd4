"""Bulk load: a changelog partition into a store, with librdkafka and write batches.

It reads over 100,000 rows a second; Faust's own recovery, which is switched off (docs/adr/009), some 3,000. It blocks:
run it off the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, Message

from app.kafka import consumer
from tables import rows
from tables.store import Change, Store, last_claim

BATCH_ROWS = 5_000
EPOCH_HEADER = "epoch"  # of a deletion, which has no value to carry it in


class BeyondEndError(Exception):
    """A remembered position lies beyond the log's end: the log was lost or put back to an older copy (design §3)."""


@dataclass(slots=True)
class Loaded:
    """What a load brought: rows read, how many of them were void, and the changelog offset reached."""

    rows: int = 0
    void: int = 0
    offset: int = -1


def load(
    bootstrap: str, topic: str, partition: int, store: Store, stopped: Callable[[], bool] = consumer.never
) -> Loaded:
    """Bring `store` up to the end of its changelog partition.

    A row or a deletion of a lower epoch behind a claim is void (rule F3): a fenced owner wrote it late, and compaction
    may have kept it alone. Its group is marked, to be built anew from the log before anything is served; the row is
    stored, so that the rebuilding finds its key and writes the right row behind it.

    Raises:
        BeyondEndError: the store reaches further than the changelog does.
        app.kafka.consumer.ReadError: the broker did not deliver.
    """
    with consumer.reader(bootstrap) as reader:
        return load_with(reader, topic, partition, store, stopped)


def load_with(
    reader: Consumer, topic: str, partition: int, store: Store, stopped: Callable[[], bool] = consumer.never
) -> Loaded:
    """As `load`, by a consumer that somebody keeps; it goes on fetching the partition until it is assigned others."""
    loaded = Loaded(offset=store.offset())
    low, end = _bounds(reader, topic, partition, loaded.offset)
    claim = last_claim(store)
    batch: list[Change] = []
    for message in consumer.read(reader, topic, partition, max(low, loaded.offset + 1), end, stopped=stopped):
        key, row = message.key(), message.value()
        loaded.rows += 1
        loaded.offset = message.offset()
        if key.startswith(rows.CLAIM_PREFIX):
            claim = max(claim, int.from_bytes(key[-rows.EPOCH_BYTES :], "big"))
        elif epoch_of(message) < claim:
            loaded.void += 1
            if (group := rows.group_of(key)) is None:
                continue  # a position or the end of a claim, which is its owner's alone
            batch.append((rows.stale_key(group), b""))
        batch.append((key, row))
        if len(batch) >= BATCH_ROWS:
            store.write(batch, loaded.offset)
            batch.clear()
    loaded.offset = max(loaded.offset, end - 1)
    store.write(batch, loaded.offset)
    return loaded


def check(bootstrap: str, topic: str, partition: int, store: Store) -> None:
    """See that a load can go on from where `store` is; raises as `load`."""
    with consumer.reader(bootstrap) as reader:
        _bounds(reader, topic, partition, store.offset())


def _bounds(reader: Consumer, topic: str, partition: int, reached: int) -> tuple[int, int]:
    low, end = consumer.offsets(reader, topic, partition)
    if reached >= end:
        raise BeyondEndError(
            f"{topic}/{partition}: the local table reaches offset {reached}, the changelog ends at {end}; "
            "the log was lost or put back to an older copy"
        )
    return low, end


def epoch_of(message: Message) -> int:
    """Who wrote a row or a deletion; nobody of now where a deletion does not say it, as the first version's do not."""
    if (row := message.value()) is not None:
        return rows.epoch_of(row)
    return int(dict(message.headers() or ()).get(EPOCH_HEADER, -1))
