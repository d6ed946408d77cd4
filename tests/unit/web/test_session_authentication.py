"""Who a socket is, over a real connection: the first token, later ones, and those that do not hold any more."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from app.kafka import topics
from app.revocations import Revocation, encode_revocation
from tests.unit.web.asking import token
from tests.unit.web.world import Gateway, Record, World, running


async def test_first_frame_authentication_replies_and_then_says_hello(gateway: Gateway) -> None:
    client = await gateway.connect("")
    early = await client.ask("ping")
    assert early["error"]["code"] == "unauthorized"
    number = await client.start("auth", token=token("carol"))
    assert await client.next() == {"type": "reply", "id": number, "ok": True}
    assert (await client.next())["user"] == "carol"


@pytest.mark.parametrize("early", ["ping", "send", "create_group", "subscribe", "nonsense"])
async def test_a_request_before_hello_is_unauthorized_and_the_socket_stays(
    gateway: Gateway, world: World, early: str
) -> None:
    client = await gateway.connect("")
    for _ in range(5):
        reply = await client.ask(early, group="g", name="G")
        assert (reply["error"]["code"], reply["error"]["temporary"]) == ("unauthorized", False)
    assert (await client.ask("auth", token=token("carol")))["ok"]
    assert (await client.next())["user"] == "carol"
    assert world.commands == world.reads == []


@pytest.mark.parametrize("bad", [{}, {"token": 5}, {"token": None}, {"token": ["a"]}])
async def test_an_auth_frame_without_a_token_is_invalid_and_the_socket_stays(
    gateway: Gateway, bad: dict[str, Any]
) -> None:
    client = await gateway.connect("")
    reply = await client.ask("auth", **bad)
    assert (reply["error"]["code"], reply["error"]["field"]) == ("invalid", "token")
    assert (await client.ask("auth", token=token("carol")))["ok"]


async def test_a_token_of_60_kib_is_refused_like_any_other(gateway: Gateway) -> None:
    client = await gateway.connect("")
    assert (await client.ask("auth", token="a." * 30_000))["error"]["code"] == "unauthorized"
    assert await client.closed() == 4501


@pytest.mark.parametrize(
    ("bad", "code"),
    [("nonsense", 4501), (token(lives_s=-60), 4401), (token(user=" x", lives_s=86_400), 4501)],
)
async def test_a_bad_first_token_is_refused_and_closes(gateway: Gateway, bad: str, code: int) -> None:
    client = await gateway.connect("")
    reply = await client.ask("auth", token=bad)
    assert (reply["error"]["code"], reply["error"]["temporary"]) == ("unauthorized", False)
    assert await client.closed() == code


async def test_who_does_not_authenticate_in_time_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.session.AUTHENTICATE_S", 0.05)
    client = await gateway.connect("")
    assert await client.closed() == 4501


@pytest.mark.parametrize(("later", "code"), [("bob", 4501), ("nonsense", 4501), ("expired", 4401), ("revoked", 4510)])
async def test_a_later_token_that_does_not_hold_closes_the_socket(
    gateway: Gateway, world: World, later: str, code: int
) -> None:
    now = time.time()
    world.admissions.revoke([Revocation("alice", now - 10)])
    tokens = {"expired": token(lives_s=-60), "revoked": token(iat=now - 20), "bob": token("bob"), "nonsense": "x"}
    client = await gateway.client("alice")
    assert (await client.ask("auth", token=token("alice", iat=now)))["ok"]
    assert (await client.ask("auth", token=tokens[later]))["error"]["code"] == "unauthorized"
    assert await client.closed() == code


async def test_a_revoked_token_opens_nothing(world: World) -> None:
    world.admissions.revoke([Revocation("alice", world.now)])
    async with running(world, auth="jwt") as gateway:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await gateway.connect("", token=token(iat=world.now - 5))
        assert refused.value.status == 401
        client = await gateway.connect("")
        assert (await client.ask("auth", token=token()))["error"]["code"] == "unauthorized"  # it does not say when
        assert await client.closed() == 4501
        stays = await gateway.connect("", token=token(iat=world.now + 1))
        assert (await stays.next())["type"] == "hello"
        await stays.socket.close()


async def test_a_revocation_closes_each_socket_of_the_user_and_tells_nobody_else(
    gateway: Gateway, world: World
) -> None:
    alices = [await gateway.client("alice") for _ in range(3)]
    bob = await gateway.client("bob")
    record = Record(topics.REVOCATIONS, 0, 0, b"alice", encode_revocation(time.time()))
    world.intake.take([record])
    assert [await alice.closed() for alice in alices] == [4510] * 3
    assert (await bob.ask("ping"))["ok"]
    while len(world.admissions) > 1:
        await asyncio.sleep(0)


async def test_a_fresh_token_can_shorten_a_sockets_life_too(world: World) -> None:
    async with running(world, auth="jwt") as gateway:
        client = await gateway.connect("", token=token(lives_s=3_600))
        assert (await client.next())["type"] == "hello"
        assert (await client.ask("auth", token=token(lives_s=60)))["ok"]
        world.now += 120
        assert await client.closed() == 4401


async def test_a_token_that_expires_closes_the_socket_unless_a_fresh_one_came(world: World) -> None:
    async with running(world, auth="jwt") as gateway:
        ends = await gateway.connect("", token=token(lives_s=60))
        stays = await gateway.connect("", token=token(lives_s=60))
        assert (await stays.next())["type"] == (await ends.next())["type"] == "hello"
        assert (await stays.ask("auth", token=token(lives_s=3_600)))["ok"]
        world.now += 120
        assert await ends.closed() == 4401
        assert (await stays.ask("ping"))["ok"]
        await stays.socket.close()


@pytest.mark.parametrize(
    ("query", "header"),
    [("?user=alice", None), ("", "Bearer nonsense"), ("", "Basic abc"), ("", f"Bearer {token(lives_s=-60)}")],
)
async def test_a_bad_handshake_is_refused_with_401(world: World, query: str, header: str | None) -> None:
    async with running(world, auth="jwt") as gateway:
        headers = {"Authorization": header} if header is not None else {}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(f"{gateway.url}/v1/ws{query}", headers=headers)
        assert refused.value.status == 401
