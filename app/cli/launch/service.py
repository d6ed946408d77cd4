"""`up`: broker, topics, processors, bridge, gateways, in this order; stopped in the reverse one."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from app import bootstrap
from app.cli.launch import parts, preflight, rabbitmq
from app.cli.launch.addresses import gateway_url, legacy
from app.cli.launch.broker import choose, wait_ready
from app.cli.launch.claims import Claim
from app.cli.launch.interrupts import make_gave_up, stop_signals
from app.cli.launch.readiness import bridge_told, gateways_ready
from app.cli.launch.supervisor import Supervisor
from app.config import Settings

_T = TypeVar("_T")
Say = Callable[[str], None]


def up(settings: Settings, *, restart: bool, say: Say) -> None:
    """Run the whole service until it is told to stop.

    Raises:
        LaunchError: it cannot be started, or cannot go on.
        TopicsError: the topics are not as they must be.
    """
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
    no_bridge = await _claim_bridge(settings, supervisor)
    await _start_broker(settings, supervisor, say)
    made, layout = await _in_thread(lambda: bootstrap.make_topics(settings))
    say(f"topics: {len(made)} made, {layout.partitions} partitions each, log {layout.log_id}")
    await supervisor.start(*(parts.processor(settings, name) for name in processors))
    # Between the two: what gateways do last still goes out, and what comes in is decided.
    bridges = [parts.BRIDGE] if no_bridge is None else []
    await supervisor.start(*(parts.bridge(settings, name) for name in bridges))
    await supervisor.start(*(parts.gateway(settings, name) for name in gateways))
    say(f"started {', '.join((*processors, *bridges, *gateways))}")
    await gateways_ready(settings, gateways)
    supervisor.settled()
    say(f"ready in {time.monotonic() - began:.1f} s; data in {settings.data}; Ctrl-C stops all of it")
    say(f"chat page: {gateway_url(settings, gateways[0])}")
    for line in filter(None, (legacy(settings, name) for name in gateways)):
        say(line)
    say(await bridge_told(settings) if no_bridge is None else f"bridge: off; {no_bridge}")
    await supervisor.failed()


async def _claim_bridge(settings: Settings, supervisor: Supervisor) -> str | None:
    """Make room for the bridge, or say why there is none."""
    away = await rabbitmq.why_away(settings)
    if away is not None:
        return away
    await supervisor.claim(parts.BRIDGE)
    return rabbitmq.why_no_port(settings)


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
