"""Clients that do not wait for the end of the handshake."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from app.config import Settings
from web.handshake import Handshake

REQUEST = (
    b"GET /v1/ws?user=ann HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
DEADLINE_S = 60


class Slow:
    """Lets everybody in, after a while."""

    def __init__(self) -> None:
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def handshake(self, *_: Any) -> str:
        self.asked.set()
        await self.answers.wait()
        return "ann"


@pytest.mark.parametrize("when", ["long before", "just before"])
async def test_a_client_that_goes_before_it_is_let_in_is_no_error(when: str, caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    door: Any = SimpleNamespace(authenticator=slow)
    no_sessions: Any = None
    app = web.Application()
    handshake = Handshake(Settings(AUERBACH_AUTH="dev"), door, no_sessions, lambda: True)
    app.router.add_get("/v1/ws", handshake.open)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            _, writer = await asyncio.open_connection(*runner.addresses[0])
            writer.write(REQUEST)
            await slow.asked.wait()
            [connection] = runner.server.connections
            if when == "long before":
                writer.transport.abort()
                while connection.transport is not None:
                    await asyncio.sleep(0.01)
            slow.answers.set()
            if connection.transport is not None:
                connection.transport.abort()  # closing when it is asked to write, and not yet lost
            while runner.server.connections:
                await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()

    assert [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR] == []
