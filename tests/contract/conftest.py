"""Sockets to the gateways of the shared stack."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.contract.client import Client
from tests.support.stack import Stack

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
async def connect(stack: Stack, http: aiohttp.ClientSession) -> AsyncIterator[Connect]:
    """Opens sockets: `await connect(user, gateway)`; hello is read already."""
    async with AsyncExitStack() as opened:

        async def open_one(user: str, gateway: int = 0) -> Client:
            socket = await opened.enter_async_context(http.ws_connect(stack.ws_url(gateway, user), max_msg_size=2**20))
            client = Client(socket)
            assert (await client.next())["type"] == "hello"
            return client

        yield open_one
