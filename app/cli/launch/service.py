"""`up`: broker, topics, processors, gateways, in this order; stopped in the reverse one."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

import aiohttp

from app import bootstrap
from app.cli.launch import parts, preflight
from app.cli.launch.broker import choose, wait_ready
from app.cli.launch.claims import Claim
from app.cli.launch.errors import LaunchError
from app.cli.launch.interrupts import make_gave_up, stop_signals
from app.cli.launch.supervisor import Supervisor
from app.config import Settings

_T = TypeVar("_T")
Say = Callable[[str], None]
READY_S = 120
_POLL_S = 0.1


def up(settings: Settings, *, restart: bool, say: Say) -> None:
    """Run the whole service until it is told to stop.

    Raises:
        LaunchError: it cannot be started, or cannot go on.
        SettingsError: nobody could authenticate.
        TopicsError: the topics are not as they must be.
    """
    settings.need_authentication()
    preflight.check_settings(settings)
    preflight.check_disk(settings.data)
    whole = Claim.take(settings.data, "up")
    whole.record(os.getpid())
    try:
        asyncio.run(_until_stopped(settings, restart, say))
    finally:
        whole.release()


async def _until_stopped(settings: Settings, restart: bool, say: Say) -> None:
    supervisor = Supervisor(settings.data, restart=restart, say=say)
    asked = asyncio.Event()
    with stop_signals(asked, again=supervisor.hurry):
        try:
            await _first_to_end(_serve(settings, supervisor, say), supervisor.failed(), asked.wait(), make_gave_up())
        finally:
            asked.set()  # from here on, one more signal is enough to hurry
            await _stop(supervisor, say)


async def _stop(supervisor: Supervisor, say: Say) -> None:
    running = supervisor.running()
    if running:
        say(f"stopping {', '.join(running)}")
    began = time.monotonic()
    await supervisor.stop()
    if running:
        say(f"stopped in {time.monotonic() - began:.1f} s")


async def _serve(settings: Settings, supervisor: Supervisor, say: Say) -> None:
    began = time.monotonic()
    processors, gateways = parts.processor_names(settings), parts.gateway_names(settings)
    for name in (*processors, *gateways):
        await supervisor.claim(name)
    preflight.check_gateway_ports(settings)
    await _start_broker(settings, supervisor, say)
    made, layout = await _in_thread(lambda: bootstrap.make_topics(settings))
    say(f"topics: {len(made)} made, {layout.partitions} partitions each, log {layout.log_id}")
    await supervisor.start(*(parts.processor(settings, name) for name in processors))
    await supervisor.start(*(parts.gateway(settings, name) for name in gateways))
    say(f"started {', '.join((*processors, *gateways))}")
    await _all_ready(settings, gateways)
    supervisor.settled()
    say(f"ready in {time.monotonic() - began:.1f} s; data in {settings.data}; Ctrl-C stops all of it")
    say(f"chat page: {_url(settings, gateways[0])}")
    await supervisor.failed()


async def _start_broker(settings: Settings, supervisor: Supervisor, say: Say) -> None:
    if settings.kafka_bootstrap is None:
        await supervisor.claim(parts.KAFKA)
        preflight.check_kafka_ports(settings)
    began = time.monotonic()
    broker = await choose(settings, say)
    if broker.part is not None:
        await supervisor.start(broker.part)
    await wait_ready(broker)
    say(f"kafka: {broker.what} at {broker.bootstrap}, ready in {time.monotonic() - began:.1f} s")


async def _all_ready(settings: Settings, gateways: list[str]) -> None:
    deadline = time.monotonic() + READY_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for name in gateways:
            url = f"{_url(settings, name)}readyz"
            while (fault := await _not_ready(session, url)) is not None:
                if time.monotonic() > deadline:
                    raise LaunchError(f"{name} is not ready after {READY_S} s: {url} says {fault}; see DATA/log")
                await asyncio.sleep(_POLL_S)


async def _not_ready(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url) as response:
            return None if response.status == 200 else f"{response.status} {(await response.text())[:200]}"
    except (aiohttp.ClientError, TimeoutError) as failed:
        return str(failed) or type(failed).__name__


def _url(settings: Settings, gateway: str) -> str:
    """The address to reach a gateway at from this machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound
    return f"http://{everywhere.get(settings.host, settings.host)}:{parts.gateway_port(settings, gateway)}/"


async def _first_to_end(*work: Coroutine[object, object, object]) -> None:
    """Wait for the first to end, end the others, and raise what it raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run blocking work off the loop; cancelled, it is still waited for, so that nothing is stopped under it."""
    running = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
