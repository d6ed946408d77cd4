"""Plain assigned consumers: no group, positions held by the reader itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.kafka.client_log import client_settings

BATCH = 1000
# The most that one poll of a tenth of a second counts of a silence: who stood still meanwhile has not heard whether
# the broker is silent.
POLL_S = 0.5


class ReadError(Exception):
    """A partition could not be read to the wanted offset; the message says why."""


def settings(bootstrap: str, **extra: Any) -> dict[str, Any]:
    """Settings of a consumer that is assigned by hand."""
    return {
        "bootstrap.servers": bootstrap,
        # librdkafka wants a group id even where no group is used.
        "group.id": "auerbach-reader",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A position that is not in the log any more is an error to be seen, never a silent jump.
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 50,
        "fetch.queue.backoff.ms": 5,
        "queued.max.messages.kbytes": 32_768,
        **client_settings(),
        **extra,
    }


@contextmanager
def reader(bootstrap: str) -> Iterator[Consumer]:
    """A consumer for one reading, closed afterwards. Its calls block: use it off the loop."""
    consumer = Consumer(settings(bootstrap))
    try:
        yield consumer
    finally:
        consumer.close()


@asynccontextmanager
async def reader_off_loop(bootstrap: str) -> AsyncIterator[Consumer]:
    """`reader` for a coroutine that reads in threads: making and closing it block, too."""
    consumer = await asyncio.to_thread(Consumer, settings(bootstrap))
    try:
        yield consumer
    finally:
        await asyncio.to_thread(consumer.close)


def offsets(consumer: Consumer, topic: str, partition: int, timeout_s: float = 10) -> tuple[int, int]:
    """The first offset that is kept and the one that the next record will get.

    Raises:
        ReadError: the broker did not answer in `timeout_s`.
    """
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_s)
    except KafkaException as failed:
        raise ReadError(f"{topic}/{partition}: {failed.args[0].str()}") from failed
    return low, high


def never() -> bool:
    """Who reads goes on."""
    return False


def read(
    consumer: Consumer,
    topic: str,
    partition: int,
    start: int,
    end: int,
    stall_s: float = 30,
    stopped: Callable[[], bool] = never,
) -> Iterator[Message]:
    """The records of a partition from `start` up to, not including, `end`, in order.

    Compaction and transactions leave offsets without a record, so the end is reached by position. `stopped` is asked
    ten times a second: a consumer must not be closed while another thread waits in it (both would wait for ever).

    Raises:
        ReadError: an error of the broker, nothing came for `stall_s`, or it was stopped.
    """
    if start >= end:
        return
    at = TopicPartition(topic, partition, start)
    consumer.assign([at])
    silent_s = 0.0
    position = start
    while position < end:
        if stopped():
            raise ReadError(f"{topic}/{partition}: stopped at {position}")
        began = monotonic()
        for message in _arrived(consumer):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    continue
                raise ReadError(f"{topic}/{partition}: {error.str()}")
            if message.offset() >= end:
                return
            yield message
        reached = consumer.position([at])[0].offset
        silent_s = silent_s + min(monotonic() - began, POLL_S) if reached <= position else 0.0
        position = max(position, reached)
        if silent_s > stall_s:
            raise ReadError(f"{topic}/{partition}: nothing between {position} and {end} in {stall_s} s")


def _arrived(consumer: Consumer) -> list[Message]:
    """What is there, at most `BATCH`; waits a little for the first only, where `consume` would wait for all of them."""
    first = consumer.poll(0.1)
    return [] if first is None else [first, *consumer.consume(BATCH - 1, 0)]
