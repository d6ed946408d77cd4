"""Whether gateways and the bridge can do their work yet, as their own `/readyz` says."""

import asyncio
import time

import aiohttp
import msgspec

from app.cli.launch.addresses import bridge_url, gateway_url
from app.cli.launch.errors import LaunchError
from app.cli.launch.parts import BRIDGE
from app.config import Settings

READY_S = 120
_LOOK_S = 5
_POLL_S = 0.1


async def gateways_ready(settings: Settings, gateways: list[str]) -> None:
    """Wait until every gateway can serve.

    Raises:
        LaunchError: one cannot, after two minutes.
    """
    deadline = time.monotonic() + READY_S
    for name in gateways:
        url = f"{gateway_url(settings, name)}readyz"
        if (fault := await _fault_until(deadline, url)) is not None:
            raise LaunchError(f"{name} is not ready after {READY_S} s: {url} says {fault}; see DATA/log")


async def bridge_told(settings: Settings) -> str:
    """The bridge in a line. RabbitMQ may be away for long: the bridge is looked at for a while, not waited for."""
    url = f"{bridge_url(settings, BRIDGE)}readyz"
    fault = await _fault_until(time.monotonic() + _LOOK_S, url)
    how = "ready" if fault is None else f"not ready yet ({fault})"
    return f"{BRIDGE}: {how}; RabbitMQ at {settings.rabbitmq_place}; health {url}"


async def _fault_until(deadline: float, url: str) -> str | None:
    """What keeps the process from its work still at `deadline`; None as soon as nothing does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while (fault := await _fault(session, url)) is not None:
            if time.monotonic() > deadline:
                return fault
            await asyncio.sleep(_POLL_S)
    return None


async def _fault(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url) as response:
            return None if response.status == 200 else _told(response.status, await response.text())
    except (aiohttp.ClientError, TimeoutError) as failed:
        return str(failed) or type(failed).__name__


def _told(status: int, body: str) -> str:
    """What a process that is not ready says of itself, in a line; what anything else says is shown as it is."""
    try:
        return f"waiting for {', '.join(msgspec.json.decode(body, type=_NotReady).waiting_for)}"
    except msgspec.DecodeError:
        return f"{status} {' '.join(body.split())[:200]}"


class _NotReady(msgspec.Struct):
    waiting_for: list[str]
