"""What a gateway says of itself: that it lives, what it waits for, what it has counted."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp

from app.kafka import topics
from app.kafka.producer import Producer
from app.reads import OwnerRecord, encode_owner
from tests.contract.conftest import Connect
from tests.contract.test_gateway_process import Gateway
from tests.support.stack import Broker, Stack
from tests.support.until import until_answer


class Asked:
    """A gateway's readiness."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self._gateway = gateway
        self._http = http

    async def until_waiting_for(self, *causes: str) -> None:
        """Wait until it says that it waits for just these; meanwhile it is alive."""

        async def is_waiting() -> bool:
            status, waiting_for = await self._gateway.readiness(self._http)
            assert status == (503 if waiting_for else 200)
            async with self._http.get(f"http://127.0.0.1:{self._gateway.port}/healthz") as response:
                assert response.status == 200
            return waiting_for == [*causes]

        await until_answer(is_waiting)


async def own(bootstrap: str, partition: int) -> None:
    """Say that somebody owns a partition."""
    producer = Producer(bootstrap)
    log_id = topics.check(bootstrap, "auerbach").log_id
    owner = OwnerRecord(url="http://127.0.0.1:9", epoch=0, offset=0, worker="w", log=log_id)
    await producer.deliver(topics.OWNERS, partition, key=b"%d" % partition, value=encode_owner(owner))
    await producer.close(5)


async def test_readiness_names_each_thing_that_it_waits_for(
    make_broker: Callable[[], Broker], http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    broker = await asyncio.to_thread(make_broker)
    await asyncio.to_thread(topics.create, broker.bootstrap, "auerbach", 2, 1)
    gateway = Gateway(tmp_path / "gateway", broker.bootstrap)
    try:
        await asyncio.to_thread(gateway.wait_for, "gateway serves")
        asked = Asked(gateway, http)
        await asked.until_waiting_for("an owner of partition 0", "an owner of partition 1")
        await own(broker.bootstrap, 1)
        await asked.until_waiting_for("an owner of partition 0")
        await own(broker.bootstrap, 0)
        await asked.until_waiting_for()
        kafka = int((broker.data / "run" / "kafka.pid").read_text())
        os.kill(kafka, signal.SIGSTOP)
        try:
            await asked.until_waiting_for("an answer of the broker")
        finally:
            os.kill(kafka, signal.SIGCONT)
        await asked.until_waiting_for()
    finally:
        await asyncio.to_thread(gateway.stop)


async def test_a_gateway_that_serves_tells_what_it_has_counted(
    connect: Connect, stack: Stack, http: aiohttp.ClientSession, new_group: Callable[[], str]
) -> None:
    # It has read at least this in the log.
    assert (await (await connect("alice")).ask("create_group", group=new_group(), name="G"))["ok"]
    async with http.get(stack.http_url() + "/metrics") as response:
        assert response.content_type == "text/plain"
        told = await response.text()
    for name in ("sockets", "reader_lag_records", "loop_lag_seconds_count", "log_records_total", "slow_sockets"):
        assert f"\nauerbach_gateway_{name}" in told
    assert "\nprocess_resident_memory_bytes " in told
