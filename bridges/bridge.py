"""A bridge's composition: its parts side by side, each supervised, their health on a port, and their end on SIGTERM."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import uvloop
from aiohttp import web

from app.config import Settings, SettingsError
from app.kafka import topics
from app.telemetry import logger
from bridges import health
from bridges.amqp_inbound import Inbound
from bridges.amqp_outbound import Outbound

START_S = 10.0
# What is under way when the end is asked for may take this long; then it is cut off, and comes again.
DRAIN_S = 3.0
CUT_S = 1.0
FAILED = 1

_log = logger("bridge")


class Part(Protocol):
    """One direction of a bridge."""

    name: str

    @property
    def state(self) -> str:
        """What it does: `serving`, `standing by`, or `waiting`."""

    def waits_for(self) -> list[str]:
        """What keeps it from its work, for `/readyz`; nothing if nothing does."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, finish what is under way, and return. Cancelled when that takes too long.

        Losses of RabbitMQ and Kafka are its own to heal (`bridges.connection.Link`); what it raises ends the process.
        """


def parts_of(settings: Settings, layout: topics.Layout) -> list[Part]:
    """The directions that the settings ask for."""
    parts: list[Part] = [Inbound(settings)]
    if settings.amqp_events_exchange is not None or settings.amqp_push:
        parts.append(Outbound(settings, layout))
    return parts


def main(settings: Settings) -> None:
    """Run the bridge until SIGTERM or SIGINT; blocks meanwhile.

    Raises:
        SettingsError: the port of its health is taken.
        TopicsError: Kafka is away, or the topics are not as they must be.
        SystemExit: it could not go on, and has logged why.
    """
    # They tell each loss in tracebacks of their own; ours is one line that names the setting.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except (SettingsError, topics.TopicsError):
        raise
    except Exception as failed:  # noqa: BLE001 - an edge: said in one structured line, and the process ends
        _log.critical("the bridge failed; the fault is ours", why=repr(failed), exc_info=True)
        raise SystemExit(FAILED) from None


async def _run(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    # Nothing has begun that would have to be ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, os._exit, 128 + number if number == signal.SIGINT else 0)
    listener = _listening_socket(settings)
    try:
        layout = await asyncio.to_thread(
            topics.check, settings.bootstrap, settings.app_id, settings.partitions_given, START_S
        )
        async with AsyncExitStack() as stack:
            await _serve(settings, parts_of(settings, layout), listener, stack)
    finally:
        listener.close()


async def _serve(settings: Settings, parts: Sequence[Part], listener: socket.socket, stack: AsyncExitStack) -> None:
    """Run the parts until a signal, or until one of them fails; then end all."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stopping)
    application = health.application(
        lambda: _waits_for(parts, stopping), lambda: {p.name: p.state for p in parts}, metrics=settings.metrics
    )
    runner = web.AppRunner(
        application,
        handle_signals=False,
        access_log=None,
        shutdown_timeout=0.5,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()
    tasks = {asyncio.create_task(part.run(stopping), name=part.name) for part in parts}
    asked = asyncio.create_task(stopping.wait())
    _log.info("bridge runs", bridge=settings.bridge, parts=[p.name for p in parts], port=settings.bridge_port)
    try:
        await asyncio.wait({asked, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.set()
        if tasks:
            await asyncio.wait(tasks, timeout=DRAIN_S)
    finally:
        late = [task.get_name() for task in tasks if not task.done()]
        if late:
            _log.warning("bridge ends with work under way; it comes again", parts=late)
        for task in {asked, *tasks}:
            task.cancel()
        await asyncio.wait({asked, *tasks}, timeout=CUT_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()  # raises what ended the bridge, if it was no signal


def _stop(stopping: asyncio.Event) -> None:
    """The first signal ends it in order, the second at once."""
    if stopping.is_set():
        os._exit(1)
    stopping.set()


def _waits_for(parts: Sequence[Part], stopping: asyncio.Event) -> list[str]:
    if stopping.is_set():
        return ["the end: it stops"]
    return [f"{part.name}: {what}" for part in parts for what in part.waits_for()]


def _listening_socket(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.bridge_port), backlog=128)
    except OSError as taken:
        place = f"{settings.host}:{settings.bridge_port}"
        raise SettingsError(f"AUERBACH_BRIDGE_PORT: {place} cannot be listened on: {taken.strerror}") from taken
