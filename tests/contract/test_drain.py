"""A gateway that is told to end, as its clients see it."""

import asyncio
import signal

import aiohttp

from tests.contract.client import Client
from tests.support.stack import MakeStack


async def test_a_drain_says_bye_closes_with_1001_and_loses_nothing(
    make_stack: MakeStack, http: aiohttp.ClientSession
) -> None:
    settings = {
        "AUERBACH_JWT_SECRET": "x" * 32,
        "AUERBACH_REQUEST_TIMEOUT_S": "60",
        "AUERBACH_DRAIN_SPREAD_S": "600",  # for very many sockets: one alone is not kept
    }
    stack = await asyncio.to_thread(make_stack, processors=1, gateways=1, settings=settings)
    async with http.ws_connect(stack.ws_url(0, "alice")) as socket:
        client = Client(socket)
        await client.next()
        assert (await client.ask("create_group", group="g", name="G"))["ok"]
        assert (await client.ask("subscribe", group="g"))["ok"]
        pid = stack.kill("gateway-0", signal.SIGTERM)
        assert await client.closed() == 1001
        assert [frame["type"] for frame in client.others] == ["bye"]
        assert client.others[0]["reconnect_after_ms"] >= 0
    await asyncio.to_thread(stack.wait_restarted, "gateway-0", pid, within_s=20)
    await asyncio.to_thread(stack.wait_ready)
    async with http.ws_connect(stack.ws_url(0, "alice")) as socket:
        client = Client(socket)
        await client.next()
        assert (await client.ask("subscribe", group="g", after=0))["recovered"]
        assert await client.seqs(1) == [1]
