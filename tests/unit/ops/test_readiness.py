"""What `up` says of the bridge, by the bridge's own `/readyz`."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.cli.launch import readiness
from app.config import Settings


@pytest.fixture
def waits() -> list[str]:
    """What the bridge waits for: nothing, unless a test says so."""
    return []


@pytest.fixture
async def settings(waits: list[str]) -> AsyncIterator[Settings]:
    """Of a service whose bridge answers."""

    async def readyz(_: web.Request) -> web.Response:
        return web.json_response({"waiting_for": waits}, status=503 if waits else 200)

    app = web.Application()
    app.router.add_get("/readyz", readyz)
    async with TestServer(app) as bridge:
        yield Settings.model_validate({"AUERBACH_BRIDGE_PORT": bridge.port})


async def test_a_bridge_that_is_ready_is_told_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_LOOK_S", 600)
    health = f"http://127.0.0.1:{settings.bridge_port}/readyz"

    assert await readiness.bridge_told(settings) == (
        f"bridge-0: ready; RabbitMQ at 127.0.0.1:5672, virtual host /; health {health}"
    )


async def test_a_bridge_that_is_not_ready_in_time_is_told_with_what_it_waits_for(
    settings: Settings, waits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits.append("in: RabbitMQ")
    monkeypatch.setattr(readiness, "_LOOK_S", -1)

    told = await readiness.bridge_told(settings)

    assert told.startswith("bridge-0: not ready yet (waiting for in: RabbitMQ); RabbitMQ at ")
