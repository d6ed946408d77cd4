"""How far a generation of partitions is published: committed to the consumer group, and held against the log's end."""

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.kafka import topics
from app.telemetry import logger
from bridges.outbound import metrics
from bridges.outbound.positions import Place, metadata_of
from bridges.outbound.steps import Generation

_log = logger("bridge")


def commit(consumer: Consumer, generation: Generation, reached: Mapping[int, Place], *, wait: bool) -> None:
    """Commit what moved; what is not taken is committed the next time, with what moved until then."""
    moved = {p: place for p, place in reached.items() if generation.committed.get(p) != place}
    if not moved:
        return
    offsets = [
        TopicPartition(topics.EVENTS, p, at.offset, metadata_of(at, generation.log_id)) for p, at in moved.items()
    ]
    try:
        consumer.commit(offsets=offsets, asynchronous=not wait)
    except KafkaException as failed:
        metrics.ERRORS.labels("commit").inc()
        _log.warning("a position was not committed", error=failed.args[0].str())
        return
    generation.committed.update(moved)


def lag(consumer: Consumer, reached: Mapping[int, Place]) -> int:
    """How many records are behind `reached`, from what librdkafka knows already: no request is made."""
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topics.EVENTS, p), cached=True)[1] for p in reached}
    return sum(max(0, ends[p] - place.offset) for p, place in reached.items())
