"""The producer against a broker of librdkafka's own, whose answers take their time."""

import asyncio
import json

from app.kafka.producer import DeliveryError, Producer
from tests.support.until import until

SLOW_MS = 50
ROUNDS = 25
PARTITIONS = 4  # as many as the mock has


async def test_a_producer_whose_requests_wait_for_a_slow_broker_does_not_look_again_and_again() -> None:
    looks: list[int] = []

    def on_statistics(told: str) -> None:
        looks.append(sum(broker["wakeups"] for broker in json.loads(told)["brokers"].values()))

    mock = {"test.mock.num.brokers": 1, "test.mock.broker.rtt": SLOW_MS}
    producer = Producer("mock", extra={**mock, "statistics.interval.ms": 20, "stats_cb": on_statistics})
    try:
        for partition in range(PARTITIONS):
            await producer.send("topic", partition, key=b"k", value=b"the first, so that there is a producer's id")
        await until(lambda: looks)
        before = looks[-1]
        sent = []
        for _ in range(ROUNDS):
            sent += [producer.send("topic", n % PARTITIONS, key=b"k", value=b"v") for n in range(2 * PARTITIONS)]
            seen = len(looks)
            await until(lambda seen=seen: len(looks) > seen)

        offsets = await asyncio.gather(*sent)

        assert offsets == [1 + n // PARTITIONS for n in range(2 * PARTITIONS * ROUNDS)]
        assert looks[-1] - before < 10 * len(sent)  # about one each; a thousand where it does not wait
    finally:
        await producer.close(30)


async def test_what_is_discarded_is_told_of_each_and_nothing_is_delivered_behind_what_is_dropped() -> None:
    mock = {"test.mock.num.brokers": 1, "test.mock.broker.rtt": SLOW_MS, "batch.num.messages": 2}
    producer = Producer("mock", extra=mock)
    await producer.send("topic", 0, key=b"k", value=b"the first, so that there is a producer's id")
    sent = [producer.send("topic", 0, key=b"k", value=b"v") for _ in range(1_000)]  # 25 s of the broker's

    await producer.discard(30)

    async with asyncio.timeout(30):
        told = await asyncio.gather(*sent, return_exceptions=True)
    failed = [isinstance(each, DeliveryError) for each in told]
    assert failed == sorted(failed)
    assert failed[-1]
