"""The gateway's composition: real parts wired, started, and drained on a signal (design §5)."""

import asyncio
import os
import signal
import socket
import uuid
from contextlib import AsyncExitStack

import aiohttp
import uvloop
from aiohttp import web

from app.config import Settings
from app.kafka import topics
from app.kafka.producer import Producer
from app.owners import Owners
from app.telemetry import logger
from web import http
from web.auth import Authenticator
from web.commander import Commander
from web.conversation import Service
from web.end_offsets import EndOffsets, KafkaEnds
from web.hub import Hub
from web.intake import Intake
from web.log_reader import LogReader
from web.reads_client import OwnerCalls, Reads
from web.session import Door
from web.sessions import Sessions

# What is not held by the broker after the client's deadline is of no use to anybody: keep little.
QUEUED_RECORDS = 20_000
QUEUED_KBYTES = 65_536
SETTLE_S = 1.0  # for outcomes that are on their way when a drain begins
CLOSE_S = 2.5
FLUSH_S = 1.0

_log = logger("web")


def main(settings: Settings) -> None:
    """Serve on `settings.host`:`settings.port` until SIGTERM or SIGINT, then drain; blocks meanwhile.

    Raises:
        SettingsError: nobody could authenticate, or the port is taken.
        TopicsError: the broker is away, or the topics are not as they must be.
        ReadError: the log cannot be read on.
    """
    settings.need_authentication()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


class _Gateway:
    """The parts of a running gateway."""

    def __init__(self, settings: Settings, layout: topics.Layout, session: aiohttp.ClientSession) -> None:
        origin = f"{settings.gateway}-{uuid.uuid4().hex}"
        bounds = {"queue.buffering.max.kbytes": QUEUED_KBYTES}
        self.producer = Producer(settings.bootstrap, queue_records=QUEUED_RECORDS, extra=bounds)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.commander = Commander(self.producer, origin=origin, partitions=layout.partitions, on_fatal=self._fail)
        self.owners = Owners(layout.partitions, layout.log_id)
        self.hub = Hub()
        self.intake = Intake(hub=self.hub, commander=self.commander, owners=self.owners)
        self.reader = LogReader(settings.bootstrap, layout, self.intake, self._fail)
        self.ends = EndOffsets(KafkaEnds(settings.bootstrap))
        self.calls = OwnerCalls(session)
        reads = Reads(self.owners, self.ends, self.calls, partitions=layout.partitions, epoch=self.intake.epoch)
        service = Service(self.commander, reads, self.hub, settings.request_timeout_s)
        self.sessions = Sessions()
        self.draining = False
        door = Door(service, Authenticator(settings), layout.log_id)
        self.app = http.application(
            settings,
            door,
            self.sessions,
            waits_for=self.waits_for,
            opened=lambda: self.intake.begun and not self.draining,
        )

    def waits_for(self) -> list[str]:
        """What keeps this gateway from serving."""
        if self.draining:
            return ["the end: it drains"]
        return [*self.intake.waits_for(), *(f"an owner of partition {p}" for p in self.owners.without())]

    def _fail(self, why: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(why)


async def _run(settings: Settings) -> None:
    # Nothing has begun that would have to be ended.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, 130)
    listener = http.listening_socket(settings.host, settings.port)
    try:
        layout = await asyncio.to_thread(topics.check, settings.bootstrap, settings.app_id, settings.partitions_given)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=8))
            )
            gateway = _Gateway(settings, layout, session)
            await _serve(settings, gateway, listener, stack)
    finally:
        listener.close()


async def _serve(settings: Settings, gateway: _Gateway, listener: socket.socket, stack: AsyncExitStack) -> None:
    """Serve until a signal or a failure; whatever happens, what was started is ended in the reverse order."""
    stopped = _on_signals()
    stack.push_async_callback(gateway.ends.close)
    stack.push_async_callback(gateway.calls.close)
    stack.push_async_callback(gateway.producer.close, FLUSH_S)
    stack.push_async_callback(gateway.reader.close)
    stack.push_async_callback(gateway.hub.close)
    gateway.reader.start()
    runner = web.AppRunner(gateway.app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener, backlog=http.BACKLOG).start()
    tasks = [asyncio.create_task(gateway.commander.run()), asyncio.create_task(gateway.sessions.run())]
    ends: list[asyncio.Future[None]] = [stopped, gateway.failed, *tasks]
    _log.info("gateway serves", host=settings.host, port=settings.port, origin=gateway.commander.origin)
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await _drain(gateway)
    finally:
        for task in tasks:
            task.cancel()
    for ended in done:
        ended.result()  # raises what ended the gateway, if it was no signal


async def _drain(gateway: _Gateway) -> None:
    """Readiness goes red, outcomes under way are awaited for a moment, then every socket is told to go."""
    gateway.draining = True
    _log.info("gateway drains", sockets=len(gateway.sessions), pending=len(gateway.commander))
    await gateway.commander.settled(SETTLE_S)
    await gateway.sessions.drain(CLOSE_S)


def _on_signals() -> asyncio.Future[None]:
    """Done with SIGTERM or SIGINT; the second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        if stopped.done():
            os._exit(1)
        stopped.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stopped
