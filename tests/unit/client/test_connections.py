"""Connections: when the client comes back, when it does not, and how long it waits."""

import asyncio
import dataclasses
import random

import aiohttp
import pytest
import uvloop
from auerbach_client import Backoff, Client, EndedError, backoff
from auerbach_client.pace import Pace

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock
from tests.support.ports import free_ports
from tests.support.until import until
from tests.unit.client.conftest import MakeClient, held_up, jwt


@pytest.mark.parametrize("seed", range(5))
def test_waits_between_connections_stay_within_1_and_30_s_and_spread_over_all_of_it(seed: int) -> None:
    waits = Backoff(1.0, 30.0, random.Random(seed))

    late = [waits.delay_s(attempt) for attempt in range(6, 406)]

    assert all(1 <= waits.delay_s(attempt) <= min(30, 2**attempt) for attempt in range(1, 200))
    assert all(1 <= wait <= 30 for wait in late)
    assert min(late) < 3
    assert max(late) > 28


def test_a_client_waits_as_the_protocol_asks_unless_told_otherwise() -> None:
    default = backoff.reconnecting()

    assert (default.least_s, default.most_s) == (1.0, 30.0)


@pytest.mark.parametrize("code", [4501, 4510, 4599])
async def test_a_close_for_good_ends_the_client_and_tells_the_caller(
    gateway: FakeGateway, client: MakeClient, code: int
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g") as events:
            gateway.reply_delay_s = 3600
            sending = asyncio.create_task(alice.send("g", "hi"))
            await until(lambda: gateway.log.group("g").state.seq == 2)
            await gateway.close(code)
            with pytest.raises(EndedError) as ended:
                await sending
            with pytest.raises(EndedError):
                [event async for event in events]
            with pytest.raises(EndedError):
                await alice.ping()

    assert ended.value.code == code
    assert gateway.connections == 1


@pytest.mark.parametrize("code", [1001, 1009, 1011, 4400, 4401, 4408, 4409, 4499])
async def test_any_other_close_is_followed_by_a_new_connection(
    gateway: FakeGateway, client: MakeClient, code: int
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        await gateway.close(code)
        ack = await alice.send("g", "hi")

    assert ack.seq == 2
    assert gateway.connections == 2


async def test_after_a_bye_the_client_comes_back_when_it_was_told(gateway: FakeGateway, client: MakeClient) -> None:
    loop = asyncio.get_running_loop()
    async with client() as alice:
        since = loop.time()
        await gateway.close(1001, bye_after_ms=150)
        await alice.ping()
        back = loop.time()

    assert back - since >= 0.14


async def test_byes_that_ask_for_no_wait_get_longer_ones_while_no_connection_stays(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.link._STEADY_S", 3600)

    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return max(a, b)

    loop = asyncio.get_running_loop()
    async with client() as alice:
        alice._session.link._least_bye = dataclasses.replace(alice._session.link._least_bye, chance=Longest())
        waits = []
        for _ in range(4):
            since = loop.time()
            await gateway.close(1001, bye_after_ms=0)
            await alice.ping()
            waits.append(loop.time() - since)

    assert all(wait >= least - 0.01 for wait, least in zip(waits, (0.05, 0.1, 0.2, 0.4), strict=True))


async def test_a_connection_on_which_nothing_is_overdue_is_kept(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
) -> None:
    async with client(reply_timeout_s=50) as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g"):
            await clock.put_forward(51)
            await alice.ping()

    assert gateway.connections == 1


async def test_an_address_without_the_service_is_an_error(gateway: FakeGateway) -> None:
    with pytest.raises(EndedError, match="404"):
        async with Client(gateway.url + "/elsewhere", user="alice"):
            pass


async def test_a_server_that_is_away_is_tried_until_the_deadline(client: MakeClient) -> None:
    nowhere = f"http://127.0.0.1:{free_ports(1)}"
    quick = Backoff(0.001, 0.01)
    with pytest.raises(EndedError, match=r"no connection within 0\.3 s: "):
        async with Client(nowhere, user="alice", reconnect=quick, connect_timeout_s=0.3):
            pass


async def test_a_server_that_comes_late_is_found(gateway: FakeGateway, client: MakeClient) -> None:
    gateway.handshakes = [503, 502, 429]
    async with client() as alice:
        await alice.ping()

    assert gateway.handshakes == []


async def test_a_peer_that_is_silent_for_two_heartbeats_is_left(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
) -> None:
    gateway.heartbeat_ms, gateway.silent = 100_000, True
    async with client() as alice:
        await clock.put_forward(110)
        kept = alice.online
        gateway.silent = False
        await clock.put_forward(90)
        await until(lambda: gateway.connections == 2 and alice.online)
        connection = alice._session.link._connection
        assert connection is not None
        for _ in range(3):
            await clock.put_forward(100)
            await until(lambda: connection.silent_s < 50)  # pings are signs of life
        await alice.ping()

    assert kept
    assert gateway.connections == 2


async def test_a_consumer_that_is_behind_does_not_make_the_peer_silent(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.feed._PATIENCE_S", 86_400)
    async with client("alice") as alice:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        gateway.heartbeat_ms = 50_000
        async with client("bob") as bob, bob.subscribe("g", after=0, queue_events=2) as events:
            for i in range(4):
                await alice.send("g", f"m{i}")
            await until(lambda: held_up(bob))
            await clock.put_forward(100)
            seqs = [(await anext(events)).seq for _ in range(5)]  # type: ignore[union-attr]
            await bob.ping()

    assert seqs == [1, 2, 3, 4, 5]
    assert gateway.connections == 2


async def test_closing_leaves_no_task_and_may_be_repeated(gateway: FakeGateway, client: MakeClient) -> None:
    before = asyncio.all_tasks()
    alice = client(None, token=lambda: jwt(3600))
    gateway.tokens = type("Any", (dict,), {"get": lambda *_: "alice"})()
    async with alice:
        await alice.create_group("g", name="G")
        run = await alice.subscribe("g").__aenter__()
        waiting = asyncio.create_task(anext(run))
        gateway.reply_delay_s = 3600
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: gateway.log.group("g").state.seq == 2)
    await alice.aclose()
    await asyncio.gather(waiting, sending, return_exceptions=True)
    ours = {task for task in asyncio.all_tasks() - before if "auerbach_client" in repr(task)}

    assert ours == set()
    assert not alice.online


async def test_closing_is_quick_though_a_connection_is_being_waited_for(gateway: FakeGateway) -> None:
    async with Client(gateway.url, user="alice", reconnect=Backoff(3600, 3600)) as alice:
        gateway.cut()
        await until(lambda: not alice.online)
        async with asyncio.timeout(30):
            await alice.aclose()


async def test_a_client_is_used_within_its_context_only(client: MakeClient) -> None:
    alice = client()
    with pytest.raises(RuntimeError, match="async with"):
        await alice.ping()
    async with alice:
        with pytest.raises(RuntimeError, match="once"):
            await alice.__aenter__()


async def test_several_gateways_are_taken_in_turn(client: MakeClient) -> None:
    quick = Backoff(0.001, 0.01)
    async with FakeGateway() as first, FakeGateway() as second:
        alice = Client([first.url, second.url], user="alice", reconnect=quick)
        async with alice:
            first.cut()
            await alice.ping()

    assert (first.connections, second.connections) == (1, 1)


def test_a_connection_is_cut_on_uvloop_too() -> None:
    async def run() -> int:
        async with FakeGateway() as gateway:
            async with Client(gateway.url, user="alice", reconnect=Backoff(0.001, 0.01)) as alice:
                alice.interrupt()
                await until(lambda: gateway.connections == 2)
                await alice.ping()
            return gateway.connections

    assert uvloop.run(run()) == 2


async def test_a_client_keeps_below_the_servers_rate() -> None:
    loop = asyncio.get_running_loop()
    pace, since = Pace(100), loop.time()
    for _ in range(200):
        await pace.turn()
    took_s = loop.time() - since

    assert took_s >= (200 - 180) / 95 - 0.01  # a burst of 180, then 95 a second


async def test_a_binary_frame_or_an_unknown_one_is_passed_over(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        [session] = gateway.sessions
        await session.socket.send_frame(b"\x00", aiohttp.WSMsgType.BINARY)
        for frame in (b'{"type":"signal","kind":"new"}', b"[]", b"no json", b'{"type":"event"}', b'{"type":"reply"}'):
            session.put(frame)
        await alice.ping()

    assert gateway.connections == 1
