"""Clients that do not wait for the end of the handshake."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from app.config import Settings
from web.handshake import Handshake

REQUEST = (
    b"GET /v1/ws?user=ann HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DEADLINE_S = 10


class Slow:
    """Lets everybody in, after a while."""

    def __init__(self) -> None:
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def handshake(self, *_: Any) -> str:
        self.asked.set()
        await self.answers.wait()
        return "ann"


async def test_a_client_that_is_gone_before_it_is_let_in_raises_nothing() -> None:
    slow = Slow()
    door: Any = SimpleNamespace(authenticator=slow)
    no_sessions: Any = None
    handshake = Handshake(Settings(AUERBACH_AUTH="dev"), door, no_sessions, lambda: True)
    outcome: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            outcome.set_result(await handshake.open(request))
        except ConnectionError as raised:
            outcome.set_exception(raised)
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            _, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(REQUEST)
            await slow.asked.wait()
            writer.transport.abort()
            while any(connection.transport is not None for connection in runner.server.connections):
                await asyncio.sleep(0.01)
            slow.answers.set()

            assert not (await outcome).prepared
    finally:
        await runner.cleanup()
