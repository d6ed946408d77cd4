"""Waiting until every partition of the topics has a leader that answers."""

import time
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from app.kafka.topics import TopicsError

_POLL_S = 0.1
_ASK_S = 5.0


def wait_led(bootstrap: str, names: list[str], partitions: int, timeout_s: float = 30) -> None:
    """Wait until the end offset of each partition can be asked.

    A topic exists in the metadata a moment before the broker leads its partitions; who reads it in that moment is
    told `NOT_LEADER_OR_FOLLOWER` and dies of it.

    Raises:
        TopicsError: some partition still has no leader after `timeout_s`; names it.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    waiting = [TopicPartition(name, partition) for name in names for partition in range(partitions)]
    deadline = time.monotonic() + timeout_s
    while True:
        asked = admin.list_offsets({each: OffsetSpec.latest() for each in waiting}, request_timeout=_ASK_S)
        faults = {each: fault for each, future in asked.items() if (fault := _fault(future)) is not None}
        if not faults:
            return
        if time.monotonic() > deadline:
            first, fault = next(iter(faults.items()))
            raise TopicsError(
                f"{bootstrap}: {first.topic}/{first.partition} is not led after {timeout_s:.0f} s ({fault})"
            )
        waiting = list(faults)
        time.sleep(_POLL_S)


def _fault(future: "Future[Any]") -> str | None:
    try:
        future.result(timeout=2 * _ASK_S)
    except KafkaException as failed:
        return str(failed.args[0].str())
    return None
