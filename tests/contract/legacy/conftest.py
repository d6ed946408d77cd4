"""Sockets of both kinds to the gateways of the shared stack."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.contract.legacy.doors import Doors, Enter, Open
from tests.support.old_app import CONNECTED, OldApp
from tests.support.stack import Stack


@pytest.fixture
async def doors(http: aiohttp.ClientSession) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as opened:
        yield Doors(http, opened)


@pytest.fixture
def enter(stack: Stack, doors: Doors) -> Enter:
    """`await enter(user, gateway)`: a socket of the new protocol."""
    return lambda user, gateway=0: doors.enter(stack, user, gateway)


@pytest.fixture
def connect(stack: Stack, doors: Doors) -> Open:
    """`await connect(group, user, gateway)`: an old app's socket."""
    return lambda group, user, gateway=0, **options: doors.open(stack, group, user, gateway, **options)


@pytest.fixture
def member(connect: Open) -> Open:
    """As `connect`; it has read that it is connected."""

    async def open_one(group: str, user: str, gateway: int = 0) -> OldApp:
        app = await connect(group, user, gateway)
        assert await app.next() == (user, CONNECTED)
        return app

    return open_one
