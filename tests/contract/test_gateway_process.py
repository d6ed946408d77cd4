"""A gateway as a process: how it starts, ends, and says that it cannot go on."""

import asyncio
import functools
import signal
import socket
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.kafka import topics
from app.kafka.producer import Producer
from app.reads import OwnerRecord, encode_owner
from tests.contract.client import WITHIN_S, Client
from tests.support.ports import free_ports
from tests.support.stack import START_S, Command, clean_environment
from tests.support.until import until_answer
from tests.support.waiting import eventually
from web.sessions import SETTLE_S

PARTITIONS = 2
BAD_SETTING = 2


class Gateway(Command):
    """`python -m app gateway`, alone, in development mode."""

    def __init__(self, data: Path, bootstrap: str, port: int | None = None, **settings: str) -> None:
        self.port = port if port is not None else free_ports(1)
        env = clean_environment(
            DATA=str(data), PORT=str(self.port), KAFKA_BOOTSTRAP=bootstrap, AUERBACH_AUTH="dev", **settings
        )
        data.mkdir(parents=True, exist_ok=True)
        super().__init__(data / "gateway.out", env, "gateway")

    @property
    def ws_url(self) -> str:
        """Its socket, as alice."""
        return f"ws://127.0.0.1:{self.port}/v1/ws?user=alice"

    async def serves(self, http: aiohttp.ClientSession) -> Client:
        """A socket, once there can be one; its hello is read."""
        await asyncio.to_thread(self.wait_for, "gateway serves")
        async with asyncio.timeout(START_S):
            while True:
                try:
                    client = Client(await http.ws_connect(self.ws_url))
                except aiohttp.WSServerHandshakeError:
                    await asyncio.sleep(0.05)  # 503 until the log's reader has begun
                else:
                    assert (await client.next())["type"] == "hello"
                    return client

    async def readiness(self, http: aiohttp.ClientSession) -> tuple[int, list[str]]:
        """What /readyz says: the status, and what is waited for."""
        async with http.get(f"http://127.0.0.1:{self.port}/readyz") as response:
            return response.status, (await response.json())["waiting_for"]

    async def until_waiting_for(self, http: aiohttp.ClientSession, *causes: str) -> None:
        """Wait until it says that it waits for just these."""

        async def is_waiting() -> bool:
            return (await self.readiness(http))[1] == [*causes]

        await until_answer(is_waiting)


@pytest.fixture
def made(module_broker: str) -> AdminClient:
    """The topics are there."""
    topics.create(module_broker, "auerbach", PARTITIONS, 1)
    return AdminClient({"bootstrap.servers": module_broker})


def lines(gateway: Command) -> list[str]:
    """What it said, without the broker client's own complaints."""
    return [line for line in gateway.printed().splitlines() if "rdkafka" not in line]


def truncate(admin: AdminClient, end: int) -> None:
    """Have the log's first partition begin at `end`."""
    [deleted] = admin.delete_records([TopicPartition(topics.EVENTS, 0, end)]).values()
    deleted.result(WITHIN_S)


def critical(gateway: Command) -> str:
    """Why it cannot go on, which it says once."""
    [said] = [said for line in lines(gateway) if (said := msgspec.json.decode(line))["level"] == "critical"]
    assert said["event"] == "the gateway cannot go on"
    return str(said["why"])


def test_a_start_that_cannot_succeed_is_one_line_each(module_broker: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = {
            "PORT: 127.0.0.1": Gateway(tmp_path / "b", module_broker, port=port),
            "`python -m app topics create`": Gateway(tmp_path / "c", module_broker),
        }
        for text, gateway in refused.items():
            assert gateway.ended() == BAD_SETTING
            [line] = lines(gateway)
            assert line.startswith("error: ")
            assert text in line


async def test_a_gateway_whose_log_is_made_anew_closes_with_4409_and_says_so_in_one_line(
    made: AdminClient, module_broker: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Nothing was read or is read: only the topic's id tells."""
    gateway = Gateway(tmp_path, module_broker)
    client = await gateway.serves(http)
    await asyncio.to_thread(made.delete_topics([topics.EVENTS])[topics.EVENTS].result)
    made_again = functools.partial(topics.create, module_broker, "auerbach", PARTITIONS, 1)  # once it is forgotten
    await asyncio.to_thread(eventually, made_again, within_s=WITHIN_S, what="the topic again")
    assert await client.closed() == 4409
    assert client.others == []
    assert await asyncio.to_thread(gateway.ended) == 1
    assert "another log" in critical(gateway)


async def test_a_gateway_that_is_told_to_end_is_red_first_serves_on_and_is_ended_at_once_by_the_second_signal(
    made: AdminClient, module_broker: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    del made
    gateway = Gateway(tmp_path, module_broker, AUERBACH_DRAIN_DELAY_S="600")
    client = await gateway.serves(http)
    gateway.process.send_signal(signal.SIGINT)
    await gateway.until_waiting_for(http, "the end: it drains")
    assert (await gateway.readiness(http))[0] == 503
    assert (await client.ask("ping"))["ok"]
    late = Client(await http.ws_connect(gateway.ws_url))  # sent here by who has not seen it yet
    assert (await late.next())["type"] == "hello"
    gateway.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(gateway.ended) == 1
    assert [await each.closed() for each in (client, late)] == [1006, 1006]
    assert client.others == late.others == []


async def test_a_gateway_that_drains_says_bye_takes_nobody_more_and_ends_with_0(
    made: AdminClient, module_broker: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    del made
    gateway = Gateway(tmp_path, module_broker, AUERBACH_DRAIN_DELAY_S="0.1")
    clients = [await gateway.serves(http) for _ in range(2)]
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    for each in clients:
        assert (await each.next())["type"] == "bye"
    # Neither has answered the close yet. On a machine that stood still it may have ended all the same.
    with pytest.raises(aiohttp.ClientError) as refused:
        await http.ws_connect(gateway.ws_url)
    answered = isinstance(refused.value, aiohttp.WSServerHandshakeError) and refused.value.status == 503
    assert answered or time.monotonic() - began > SETTLE_S, refused.value
    assert [await each.closed() for each in clients] == [1001, 1001]
    assert await asyncio.to_thread(gateway.ended) == 0
    said = [msgspec.json.decode(line)["event"] for line in lines(gateway)]
    assert [each for each in said if each != "the log cannot be opened yet"] == ["gateway serves", "gateway drains"]


async def test_a_gateway_begins_where_the_log_does_if_its_owner_named_a_place_before_and_not_at_all_beyond_its_end(
    made: AdminClient, module_broker: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Retention takes the first records of a log; one that ends before a place that was written down is another one."""
    producer = Producer(module_broker)
    end = 1 + await producer.deliver(topics.EVENTS, 0, key=b"g", value=b"any record")
    await asyncio.to_thread(truncate, made, end)
    log_id = topics.check(module_broker, "auerbach").log_id

    async def own(place: int, epoch: int) -> None:
        owner = OwnerRecord(url="http://127.0.0.1:9", epoch=epoch, offset=place, worker="w", log=log_id)
        await producer.deliver(topics.OWNERS, 0, key=b"0", value=encode_owner(owner))

    await own(0, epoch=1)
    gateway = Gateway(tmp_path / "before", module_broker)
    await gateway.serves(http)
    await gateway.until_waiting_for(http, "an owner of partition 1")
    await asyncio.to_thread(gateway.stop)
    await own(99, epoch=2)
    beyond = Gateway(tmp_path / "beyond", module_broker)
    assert await asyncio.to_thread(beyond.ended) == 1
    assert "its owner record names 99: another log?" in critical(beyond)
    await producer.close(5)
