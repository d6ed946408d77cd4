"""The replaced service's gRPC (protocol §8): real channels, a real gateway, processor and broker."""

import asyncio
import functools
import itertools
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from app.kafka import topics
from tests.contract.client import WITHIN_S, Client
from tests.contract.test_limits import TEXTS
from tests.support.driver import Driver
from tests.support.ports import free_ports
from tests.support.processors import Processor, processors
from tests.support.rpc import SERVICE, Rpc
from tests.support.stack import Command, Stack, clean_environment
from tests.support.until import until_answer
from web.rpc.server import GRACE_S

LIMIT_BYTES = 4 * 1024 * 1024
BAD_SETTING = 2
AT_ONCE = 40  # long messages that a client posts before it waits

posts = itertools.count()

NewGroup = Callable[[], str]
Enter = Callable[..., Awaitable[Client]]


@pytest.fixture
def rpc(stack: Stack) -> Iterator[Rpc]:
    with Rpc(stack.grpc_port) as client:
        yield client


@pytest.fixture
async def enter(stack: Stack, http: aiohttp.ClientSession) -> AsyncIterator[Enter]:
    """Opens sockets of users on the new protocol; hello is read already."""
    async with AsyncExitStack() as opened:

        async def open_one(user: str) -> Client:
            socket = await opened.enter_async_context(http.ws_connect(stack.ws_url(0, user), max_msg_size=2**20))
            client = Client(socket)
            assert (await client.next())["type"] == "hello"
            return client

        yield open_one


async def create(client: Client, group: str, **fields: Any) -> None:
    assert (await client.ask("create_group", group=group, name="G", **fields))["ok"]


async def say(client: Client, group: str, *texts: str) -> list[dict[str, Any]]:
    """Post texts, all at once; the replies in their order."""
    numbers = [await client.start("send", group=group, text=text, client_msg_id=f"{next(posts)}") for text in texts]
    replies = [await client.reply(number) for number in numbers]
    assert all(reply["ok"] for reply in replies), replies
    return replies


async def events(client: Client, count: int) -> list[dict[str, Any]]:
    """The next so many events; whatever else comes is passed over."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        frame = await client.next()
        if frame["type"] == "event":
            found.append(frame)
    return found


async def test_a_stranger_learns_the_service_by_reflection(rpc: Rpc) -> None:
    described, services = await asyncio.to_thread(rpc.described)
    assert services == [SERVICE, "grpc.reflection.v1alpha.ServerReflection"]
    [method] = described.methods
    assert (method.name, described.file.package) == ("RetrieveLastMessages", "chatservice")
    assert method.output_type.fields_by_name["messages"].message_type.fields_by_name[
        "timestamp"
    ].message_type.full_name == ("google.protobuf.Timestamp")


async def test_the_last_messages_are_those_that_members_see_oldest_first(
    rpc: Rpc, enter: Enter, new_group: NewGroup
) -> None:
    group = new_group() + "/é 🎉"
    alice, bob, carol = [await enter(user) for user in ("alice", "bob", "carol")]
    await create(alice, group, members=[{"user": "bob"}, {"user": "carol"}])
    assert (await carol.ask("subscribe", group=group))["ok"]
    await say(alice, group, *TEXTS)
    await say(bob, group, "the last one")
    live = await events(carol, len(TEXTS) + 1)

    answer = await rpc.call(group, "+0050")

    assert answer.status.code == 0
    assert [(m.client_id, m.content) for m in answer.messages] == [(e["by"], e["data"]["text"]) for e in live]
    instants = [m.timestamp.ToDatetime().isoformat(timespec="milliseconds") + "Z" for m in answer.messages]
    assert instants == [event["at"] for event in live]
    assert await rpc.texts(group, "1") == ["the last one"]


async def test_deleted_messages_are_left_out_and_edited_ones_have_their_new_text(
    rpc: Rpc, enter: Enter, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await create(alice, group)
    seqs = [reply["seq"] for reply in await say(alice, group, "one", "two", "three", "four")]
    assert (await alice.ask("edit", group=group, seq=seqs[1], text="TWO"))["ok"]
    assert (await alice.ask("react", group=group, seq=seqs[1], emoji="👍"))["ok"]
    assert (await alice.ask("delete", group=group, seq=seqs[2]))["ok"]
    assert await rpc.texts(group, "2") == ["TWO", "four"]
    assert await rpc.texts(group, "3") == ["one", "TWO", "four"]


async def test_of_a_group_of_three_lives_only_the_third_is_told(rpc: Rpc, enter: Enter, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice")
    for life in ("first", "second"):
        await create(alice, group)
        await say(alice, group, *(f"{life} {n}" for n in range(3)))
        assert (await rpc.texts(group, "2")) == [f"{life} 1", f"{life} 2"]
        assert (await alice.ask("delete_group", group=group))["ok"]
        assert await rpc.texts(group) == []
    await create(alice, group, history="joined")
    assert await rpc.texts(group) == []
    await say(alice, group, "third")
    assert await rpc.texts(group) == ["third"]


async def test_all_are_told_where_fewer_are_there_than_asked_for(rpc: Rpc, enter: Enter, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice")
    await create(alice, group)
    texts = [f"message {n}" for n in range(450)]
    await say(alice, group, *texts)
    for number in ("450", "451", "9" * 5_000):
        assert await rpc.texts(group, number) == texts
    assert await rpc.texts(group, "449") == texts[1:]


@pytest.mark.parametrize("number", ["0", "-1", "-" + "9" * 5_000])
async def test_zero_and_less_ask_for_none(rpc: Rpc, enter: Enter, new_group: NewGroup, number: str) -> None:
    group = new_group()
    alice = await enter("alice")
    await create(alice, group)
    await say(alice, group, "one")
    assert await rpc.texts(group, number) == []


@pytest.mark.parametrize("group", ["never made", "", ".", "x" * 500])
async def test_an_unknown_group_has_no_messages(rpc: Rpc, group: str) -> None:
    assert await rpc.texts(group) == []


@pytest.mark.parametrize("number", ["", " ", "1.5", "five", "٣", "1 ", "+"])
async def test_what_is_no_number_is_a_bad_request(rpc: Rpc, number: str) -> None:
    answer = await rpc.call("never made", number)
    assert (answer.status.code, list(answer.messages)) == (1, [])
    assert answer.status.message.startswith("number_of_messages")


async def test_the_status_of_success_is_on_the_wire(rpc: Rpc) -> None:
    assert await rpc.raw(b"\x0a\x04none\x12\x011") == b"\x0a\x00"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x02\xc3\x28\x12\x011", b"\x0a\x7fshort"])
async def test_what_is_no_request_is_a_bad_one_and_the_next_is_served(rpc: Rpc, garbage: bytes) -> None:
    assert (await rpc.raw(garbage)).startswith(b"\x0a")
    assert (await rpc.raw(garbage))[2:4] == b"\x08\x01"
    assert await rpc.code("never made") == "OK"


async def test_a_request_that_is_far_too_long_is_refused_and_the_next_is_served(rpc: Rpc) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await rpc.call("g", "0" * 100_000)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await rpc.code("never made") == "OK"


async def test_an_answer_stays_under_four_mebibytes_and_lacks_the_older_messages(
    rpc: Rpc, enter: Enter, new_group: NewGroup
) -> None:
    """The channel takes no more by default."""
    group = new_group()
    alice = await enter("alice")
    await create(alice, group)
    texts = [f"{n:03} " + "🎉" * 4_095 for n in range(280)]
    for first in range(0, len(texts), AT_ONCE):
        await say(alice, group, *texts[first : first + AT_ONCE])
    answer = await rpc.call(group, "1000")
    told = [message.content for message in answer.messages]
    assert told == texts[-len(told) :]
    assert LIMIT_BYTES - 2 * 16_500 < answer.ByteSize() < LIMIT_BYTES


async def test_calls_that_come_together_each_get_their_own_answer(rpc: Rpc, enter: Enter, new_group: NewGroup) -> None:
    alice = await enter("alice")
    groups = [new_group() for _ in range(8)]
    for group in groups:
        await create(alice, group)
        await say(alice, group, *(f"{group} {n}" for n in range(5)))
    asked = [(group, count) for count in range(6) for group in groups]
    answers = await asyncio.gather(*(rpc.texts(group, str(count)) for group, count in asked))
    assert answers == [[f"{group} {n}" for n in range(5 - count, 5)] for group, count in asked]


async def test_in_a_burst_no_call_ends_without_a_status(rpc: Rpc, enter: Enter, new_group: NewGroup) -> None:
    """gRPC's core alone would end some of so many with CANCELLED."""
    group = new_group()
    alice = await enter("alice")
    await create(alice, group)
    await say(alice, group, "one")
    answer = await rpc.call(group, "1")
    answers = await asyncio.to_thread(rpc.burst, group, "1", 3_000)
    told = [each for each in answers if each.status.code == 0]
    assert told
    assert all(each == answer for each in told)
    assert {each.status.code for each in answers} <= {0, 2, 3}  # there are many, and they have not for ever


class Gateway(Command):
    """`python -m app gateway`, alone, in development mode, in the replaced service's place."""

    def __init__(self, data: Path, bootstrap: str, **settings: str) -> None:
        self.port, self.grpc_port = free_ports(1), free_ports(1)
        env = {
            "DATA": str(data),
            "PORT": str(self.port),
            "HTTP_PORT": str(free_ports(1)),
            "GRPC_PORT": str(self.grpc_port),
            "AUERBACH_LEGACY": "1",
            "AUERBACH_AUTH": "dev",
            "AUERBACH_REQUEST_TIMEOUT_S": "5",
            "KAFKA_BOOTSTRAP": bootstrap,
            **settings,
        }
        data.mkdir(parents=True, exist_ok=True)
        super().__init__(data / "gateway.out", clean_environment(**env), "gateway")


async def metrics(http: aiohttp.ClientSession, gateway: Gateway) -> str:
    async with http.get(f"http://127.0.0.1:{gateway.port}/metrics") as response:
        return await response.text()


async def is_under_way(http: aiohttp.ClientSession, gateway: Gateway) -> bool:
    """Whether the gateway answers one call."""
    return "auerbach_gateway_rpc_under_way 1.0" in await metrics(http, gateway)


@pytest.fixture
def driver(module_broker: str) -> Driver:
    topics.create(module_broker, "auerbach", 2, 1)
    return Driver(module_broker)


@pytest.fixture
def processor(driver: Driver, tmp_path: Path) -> Iterator[Processor]:
    with processors(driver, tmp_path / "processor", 1, AUERBACH_SESSION_TIMEOUT_S="60") as [one]:
        one.start_open()
        try:
            yield one
        finally:
            with suppress(ProcessLookupError):
                one.kill(signal.SIGCONT)


@pytest.fixture
def gateway(module_broker: str, tmp_path: Path) -> Iterator[Gateway]:
    one = Gateway(tmp_path / "gateway", module_broker)
    try:
        one.wait_for("gateway serves")
        yield one
    finally:
        one.stop(signal.SIGTERM)


async def until_told(rpc: Rpc, code: str, timeout_s: float | None = None) -> None:
    """Ask until this is told.

    It is the first answer, but on a machine that stood still: then all of a call's time may be over before anybody was
    asked, or a broker was silent, too, or the caller's deadline came before the answer that was there.
    """
    late = {"REQUEST_TIMEOUT", "SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED"}
    async with asyncio.timeout(WITHIN_S):
        while (told := await code_or_failure(rpc, timeout_s)) != code:
            assert told in late


async def code_or_failure(rpc: Rpc, timeout_s: float | None) -> str:
    """The status code that is told, or gRPC's own if the call itself failed."""
    try:
        return await rpc.code("g", timeout_s=timeout_s)
    except grpc.RpcError as failed:
        return str(failed.code().name)


async def test_an_owner_that_keeps_silent_is_told_from_one_that_is_not_there(
    processor: Processor, gateway: Gateway
) -> None:
    with Rpc(gateway.grpc_port) as rpc:
        await until_told(rpc, "OK")
        processor.kill(signal.SIGSTOP)
        await asyncio.gather(until_told(rpc, "REQUEST_TIMEOUT"), until_told(rpc, "REQUEST_TIMEOUT", timeout_s=2))
        processor.kill(signal.SIGCONT)
        await until_told(rpc, "OK")
        processor.kill()
        await asyncio.gather(
            until_told(rpc, "SERVICE_UNAVAILABLE"), until_told(rpc, "SERVICE_UNAVAILABLE", timeout_s=2)
        )
        assert await rpc.code("g", "0") == "OK"  # nobody is asked for it


async def test_where_no_owner_is_known_the_service_is_unavailable(driver: Driver, gateway: Gateway) -> None:
    del driver
    with Rpc(gateway.grpc_port) as rpc:
        await until_told(rpc, "SERVICE_UNAVAILABLE")


async def test_a_gateway_that_is_told_to_end_answers_the_calls_under_way(
    processor: Processor, module_broker: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    settings = {"AUERBACH_REQUEST_TIMEOUT_S": "600", "AUERBACH_DRAIN_SPREAD_S": "0"}
    told: list[str] = []
    while len(told) < 3 and "SERVICE_UNAVAILABLE" not in told:
        ending = Gateway(tmp_path / f"ending-{len(told)}", module_broker, **settings)
        await asyncio.to_thread(ending.wait_for, "gateway serves")
        with Rpc(ending.grpc_port) as rpc:
            await until_told(rpc, "OK", WITHIN_S)
            processor.kill(signal.SIGSTOP)
            waiting = asyncio.create_task(code_or_failure(rpc, None))
            await until_answer(functools.partial(is_under_way, http, ending))
            began = time.monotonic()
            ending.process.send_signal(signal.SIGTERM)
            told.append(await waiting)
            # Once more where the machine stood still while the answer was due.
            assert told[-1] == "SERVICE_UNAVAILABLE" or time.monotonic() - began > GRACE_S, told
        assert await asyncio.to_thread(ending.ended) == 0
        processor.kill(signal.SIGCONT)
    assert told[-1] == "SERVICE_UNAVAILABLE"


def test_a_port_that_is_taken_is_told_by_its_setting(driver: Driver, gateway: Gateway, tmp_path: Path) -> None:
    second = Gateway(tmp_path / "second", driver.bootstrap, GRPC_PORT=str(gateway.grpc_port))
    assert second.ended() == BAD_SETTING
    [line] = [line for line in second.printed().splitlines() if "rdkafka" not in line]
    assert line == f"error: GRPC_PORT: 127.0.0.1:{gateway.grpc_port} cannot be listened on: Address already in use"


def test_nobody_is_served_unless_it_is_set(driver: Driver, tmp_path: Path) -> None:
    without = Gateway(tmp_path / "without", driver.bootstrap, AUERBACH_LEGACY="0")
    try:
        without.wait_for("gateway serves")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", without.grpc_port), timeout=10)
    finally:
        without.stop(signal.SIGTERM)
