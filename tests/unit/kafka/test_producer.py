"""The producer against a broker of librdkafka's own, whose answers take their time."""

import asyncio
import json

from app.kafka.producer import Producer
from tests.support.until import until

SLOW_MS = 300


async def test_a_producer_that_waits_for_a_slow_broker_costs_nothing() -> None:
    looks: list[int] = []

    def on_statistics(told: str) -> None:
        looks.append(sum(broker["wakeups"] for broker in json.loads(told)["brokers"].values()))

    mock = {"test.mock.num.brokers": 1, "test.mock.broker.rtt": SLOW_MS}
    producer = Producer("mock", extra={**mock, "statistics.interval.ms": 20, "stats_cb": on_statistics})
    try:
        await producer.send("topic", 0, key=b"k", value=b"the first, that asks for a producer's id")
        before = looks[-1]
        under_way = [producer.send("topic", 0, key=b"k", value=b"v") for _ in range(5)]
        seen = len(looks)
        await until(lambda: len(looks) > seen + 1)  # they have left
        waiting = [producer.send("topic", 0, key=b"k", value=b"v") for _ in range(3)]

        offsets = await asyncio.gather(*under_way, *waiting)

        assert offsets == list(range(1, 9))
        assert looks[-1] - before < 1_000  # 25 of them; tens of thousands where it does not wait
    finally:
        await producer.close(5)
