"""The end of a gateway, as its sockets see it."""

import asyncio

import pytest
from aiohttp import WSMsgType

from tests.contract.client import WITHIN_S, Client
from tests.support.until import until
from tests.unit.web.world import Gateway, World
from web import sessions as under_test


async def under_way(client: Client, world: World) -> int:
    """A request whose outcome is on its way; its id."""
    world.auto_deliver = False
    number = await client.start("create_group", group="g", name="G")
    await until(lambda: world.unread)
    return number


async def test_an_outcome_under_way_comes_after_the_bye_and_before_the_close(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SETTLE_S", WITHIN_S)  # no moment too long for an outcome that comes
    client = await gateway.client()
    number = await under_way(client, world)
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S))
    assert (await client.next())["type"] == "bye"
    world.deliver()
    assert (await client.reply(number))["seq"] == 1
    assert await client.closed() == 1001
    await draining


async def test_what_is_asked_after_the_bye_is_not_taken(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SETTLE_S", WITHIN_S)
    client = await gateway.connect("?user=alice", autoping=False)
    assert (await client.next())["type"] == "hello"
    await under_way(client, world)
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S))
    assert (await client.next())["type"] == "bye"
    await client.start("send", group="g", text="late", client_msg_id="late")
    await client.socket.ping(b"behind it")
    assert (await client.socket.receive(timeout=WITHIN_S)).type is WSMsgType.PONG  # so the gateway has read both
    world.deliver()
    assert await client.closed() == 1001
    assert [frame["type"] for frame in client.others] == ["reply"]
    assert len(world.commands) == 1
    await draining


async def test_an_outcome_that_does_not_come_holds_the_end_up_for_a_moment_only(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SETTLE_S", 0.05)
    client = await gateway.client()
    await under_way(client, world)
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S))
    assert await client.closed() == 1001
    assert [frame["type"] for frame in client.others] == ["bye"]
    await draining


async def test_sockets_are_told_one_after_another_and_serve_until_then(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PER_SOCKET_S", 3600)
    clients = [await gateway.client() for _ in range(3)]
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S, spread_s=3 * 3600))
    for client in clients:
        await client.start("ping")
    assert sorted([(await client.next())["type"] for client in clients]) == ["bye", "reply", "reply"]
    draining.cancel()


async def test_however_many_sockets_there_are_telling_them_takes_no_longer_than_it_may(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PER_SOCKET_S", 3600)
    clients = [await gateway.client() for _ in range(5)]
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S, spread_s=0.01))
    assert [await client.closed() for client in clients] == [1001] * 5
    await draining


async def test_who_takes_nothing_is_cut_off(gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "SETTLE_S", 0)
    writer, stuck = await gateway.client(), await gateway.client("bob")
    assert (await writer.ask("create_group", group="g", name="G", members=[{"user": "bob"}]))["ok"]
    assert (await stuck.ask("subscribe", group="g"))["ok"]
    transport = stuck.socket._response.connection.transport  # type: ignore[union-attr]
    transport.pause_reading()  # type: ignore[union-attr]
    for number in range(60):
        await writer.ask("send", group="g", text="x" * 16_000, client_msg_id=str(number))
    patient = asyncio.create_task(gateway.sessions.drain(3600))
    assert await writer.closed() == 1001
    await until(lambda: len(gateway.sessions) == 1)
    await gateway.sessions.drain(0)
    await until(lambda: len(gateway.sessions) == 0)
    await patient


async def test_who_does_not_answer_the_close_is_cut_off(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "SETTLE_S", 0.05)
    client = await gateway.client()  # reads nothing from now on, and so does not see the close
    await gateway.sessions.drain(0.05)
    await until(lambda: len(gateway.sessions) == 0)
    assert client.others == []


async def test_a_socket_whose_handshake_had_begun_before_the_drain_is_told_too(gateway: Gateway) -> None:
    await gateway.sessions.drain(WITHIN_S)
    late = await gateway.client()
    assert await late.closed() == 1001
    assert [frame["type"] for frame in late.others] == ["bye"]


async def test_a_gateway_that_lost_its_place_closes_all_with_4409_and_says_no_bye(gateway: Gateway) -> None:
    clients = [await gateway.client() for _ in range(3)]
    closing = asyncio.create_task(gateway.sessions.close_all(4409, WITHIN_S))
    assert [await client.closed() for client in clients] == [4409] * 3
    assert [client.others for client in clients] == [[], [], []]
    await closing
