"""A client that was cut off goes on at the other gateway, as protocol §4 and §6 tell it to."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.contract.client import WITHIN_S, Client
from tests.contract.conftest import Connect
from tests.support.driver import Driver
from tests.support.stack import Stack

NewGroup = Callable[[], str]


async def cut(client: Client, how: str) -> None:
    """End the connection as clients' connections end."""
    if how == "close":
        await client.socket.close()
        return
    assert client.socket._conn is not None
    transport = client.socket._conn.transport
    assert isinstance(transport, asyncio.Transport)
    if how == "mid-frame":
        transport.write(b"\x81\xfe\x10\x00")  # the head of a frame of 4 KiB, which does not come
        transport.close()
    else:
        transport.abort()


async def post(client: Client, group: str, *keys: str) -> None:
    for key in keys:
        assert (await client.ask("send", group=group, text=key, client_msg_id=key))["ok"]


async def raw_events(client: Client, count: int) -> list[bytes]:
    """The next `count` frames as they came."""
    frames = []
    for _ in range(count):
        message = await client.socket.receive(timeout=WITHIN_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        frames.append(message.data.encode())
    return frames


@pytest.mark.parametrize("how", ["close", "abort", "mid-frame"])
async def test_whichever_way_it_was_cut_off_the_run_goes_on_at_the_other_gateway(
    connect: Connect, stack: Stack, new_group: NewGroup, how: str
) -> None:
    group = new_group()
    writer, reader = await connect("alice"), await connect("alice", 0)
    assert (await writer.ask("create_group", group=group, name="G"))["ok"]
    assert (await reader.ask("subscribe", group=group, after=0))["recovered"]
    await post(writer, group, "before")
    frames = await raw_events(reader, 2)
    await cut(reader, how)
    await post(writer, group, "meanwhile", "and more")
    other, driver = await connect("alice", 1), Driver(stack.bootstrap)
    resume: dict[str, Any] = {"group": group, "after": 2, "log": driver.layout.log_id, "state": False}
    reply = await other.ask("subscribe", **resume)
    assert (reply["seq"], reply["from"], reply["recovered"]) == (4, 3, True)
    await post(writer, group, "after")
    frames += await raw_events(other, 3)
    assert frames == [v.record.value for v in driver.log() if v.event.group == group]


async def test_who_subscribes_at_the_other_gateway_gets_what_was_just_acknowledged(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    writer, reader = await connect("alice", 0), await connect("alice", 1)
    assert (await writer.ask("create_group", group=group, name="G"))["ok"]
    for number in range(20):
        seq = (await writer.ask("send", group=group, text="x", client_msg_id=str(number)))["seq"]
        reply = await reader.ask("subscribe", group=group, after=seq - 1, state=False)
        assert (reply["seq"], reply["recovered"]) == (seq, True)
        assert await reader.seqs(1) == [seq]


async def test_what_got_no_reply_is_repeated_at_the_other_gateway_and_takes_effect_once(
    connect: Connect, stack: Stack, new_group: NewGroup
) -> None:
    group = new_group()
    other = await connect("alice", 1)
    assert (await other.ask("create_group", group=group, name="G"))["ok"]
    acked = {}
    for number in range(8):
        request = {"group": group, "text": "x", "client_msg_id": str(number)}
        first = await connect("alice", 0)
        await first.start("send", **request)
        await cut(first, "close" if number % 2 else "abort")
        reply = await other.ask("send", **request)
        assert (await other.ask("send", **request)) == {**reply, "id": reply["id"] + 1, "duplicate": True}
        acked[str(number)] = reply["seq"]
    posted = [(e.client_msg_id, e.seq) for e in Driver(stack.bootstrap).events(group) if e.kind == "message.posted"]
    assert len(posted) == len(acked)
    assert dict(posted) == acked
