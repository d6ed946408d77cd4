"""Sockets of both kinds, and what their users do."""

import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp

from tests.contract.client import Client
from tests.support.old_app import OldApp, address
from tests.support.stack import Stack

NewGroup = Callable[[], str]
Enter = Callable[..., Awaitable[Client]]
Open = Callable[..., Awaitable[OldApp]]

keys = itertools.count()


class Doors:
    """Opens sockets of both kinds, and closes them."""

    def __init__(self, http: aiohttp.ClientSession, opened: AsyncExitStack) -> None:
        self._http = http
        self._opened = opened

    async def enter(self, service: Stack, user: str, gateway: int = 0) -> Client:
        """A socket of the new protocol; hello is read already."""
        url = service.ws_url(gateway, user)
        client = Client(await self._opened.enter_async_context(self._http.ws_connect(url, max_msg_size=2**20)))
        assert (await client.next())["type"] == "hello"
        return client

    async def open(self, service: Stack, group: str, user: str, gateway: int = 0, **options: Any) -> OldApp:
        """An old app's socket; nothing is read."""
        url = address(service.legacy_port + gateway, group, user)
        return OldApp(await self._opened.enter_async_context(self._http.ws_connect(url, **options)), group)


async def begin(client: Client, group: str, *members: str) -> None:
    """Make a group of the client's user and others."""
    reply = await client.ask("create_group", group=group, name="G", members=[{"user": user} for user in members])
    assert reply["ok"], reply


async def post(client: Client, group: str, *texts: str) -> list[dict[str, Any]]:
    """Post messages, pipelined; the replies."""
    numbers = [await client.start("send", group=group, text=text, client_msg_id=f"key {next(keys)}") for text in texts]
    return [await client.reply(number) for number in numbers]
