"""A gateway's own clients of the broker get over its restart."""

import asyncio
from collections.abc import Callable

from app.kafka import topics
from tests.support.stack import Broker
from web.end_offsets import EndOffsets, EndUnknownError, KafkaEnds


async def test_end_offsets_are_told_again_after_the_broker_was_killed(make_broker: Callable[[], Broker]) -> None:
    broker = await asyncio.to_thread(make_broker)
    await asyncio.to_thread(topics.create, broker.bootstrap, "auerbach", 2, 1)
    ends = EndOffsets(KafkaEnds(broker.bootstrap))

    async def told() -> int:
        async with asyncio.timeout(30):
            while True:
                try:
                    return await ends.after_now(1)
                except EndUnknownError:
                    await asyncio.sleep(0.05)

    assert await told() == 0
    await asyncio.to_thread(broker.kill)
    down = asyncio.create_task(told())  # asks while there is no broker, so that "no leader" is learned
    await asyncio.to_thread(broker.start)
    assert await down == 0
    assert await told() == 0
