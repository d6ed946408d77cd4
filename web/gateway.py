"""The gateway's composition: real parts wired, started, and drained on a signal (design §5)."""

import asyncio
import functools
import os
import signal
import socket
import uuid
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop
from aiohttp import web
from confluent_kafka import KafkaException

from app.config import Settings, SettingsError
from app.kafka import topics
from app.kafka.consumer import ReadError
from app.kafka.producer import Producer
from app.owners import Owners
from app.telemetry import logger
from web import descriptors, http, log_watch
from web.admissions import Admissions
from web.auth import Authenticator
from web.commander import Commander
from web.conversation import Service
from web.end_offsets import EndOffsets, KafkaEnds
from web.hub import Hub
from web.intake import Intake
from web.keys import keys_of
from web.legacy import door as legacy
from web.legacy.channels import Channels
from web.legacy.session import FAILED as LEGACY_FAILED
from web.legacy.session import LegacyDoor
from web.legacy.sessions import LegacySessions
from web.legacy.translation import Translations
from web.log_reader import LogReader
from web.presence import Presence
from web.presence_reporter import posting
from web.reads_client import OwnerCalls, Reads
from web.revocations import Revocations
from web.session import LOST_PLACE, Door
from web.sessions import Sessions

if TYPE_CHECKING:
    from web.rpc.server import RpcServer

# What is not held by the broker after the client's deadline is of no use to anybody: keep little.
QUEUED_RECORDS = 20_000
QUEUED_KBYTES = 65_536
START_S = 10.0
CLOSE_S = 2.5
FLUSH_S = 1.0
LOOK_S = 2.0
FAILED = 1

_log = logger("web")


def main(settings: Settings) -> None:
    """Serve on `settings.host`:`settings.port` until SIGTERM or SIGINT, then drain; blocks meanwhile.

    Raises:
        SettingsError: nobody could authenticate, or the port is taken.
        TopicsError: the broker is away, or the topics are not as they must be.
        SystemExit: it could not go on, and has logged why.
    """
    settings.need_authentication()
    descriptors.raise_limit()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except (SettingsError, topics.TopicsError):
        raise
    except (ReadError, KafkaException) as lost:
        why = lost.args[0].str() if isinstance(lost, KafkaException) else str(lost)
        _log.critical("the gateway cannot go on", why=why)
        raise SystemExit(FAILED) from None
    except Exception as failed:  # noqa: BLE001 - an edge: said in one structured line, and the process ends
        _log.critical("the gateway failed; the fault is ours", why=repr(failed), exc_info=True)
        raise SystemExit(FAILED) from None


class _Gateway:
    """The parts of a running gateway."""

    def __init__(self, settings: Settings, layout: topics.Layout, session: aiohttp.ClientSession) -> None:
        origin = f"{settings.gateway}-{uuid.uuid4().hex}"
        bounds = {
            "queue.buffering.max.kbytes": QUEUED_KBYTES,
            # A command whose client was told `timeout` long ago must not take effect when a broker comes back. Later
            # ones are sent all the same, unlike a processor's events, because nothing counts on one without a gap.
            "message.timeout.ms": round(1000 * settings.request_timeout_s),
        }
        self.producer = Producer(settings.bootstrap, queue_records=QUEUED_RECORDS, extra=bounds)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.commander = Commander(self.producer, origin=origin, partitions=layout.partitions, on_fatal=self._fail)
        self.owners = Owners(layout.partitions, layout.log_id)
        self.hub = Hub()
        self.keys = keys_of(settings, session)
        revocations = Revocations()
        self.admissions = Admissions(revocations)
        self.presence = Presence(
            signal=self.hub.signal,
            owners=self.owners,
            post=posting(session),
            gateway=origin,
            partitions=layout.partitions,
            epoch=lambda partition: self.intake.epoch(partition),  # noqa: PLW0108 - the intake is made behind this
        )
        self.hub.on_followed = self.presence.on_followed
        self.intake = Intake(
            hub=self.hub,
            commander=self.commander,
            owners=self.owners,
            on_revocations=self.admissions.revoke,
            on_announcement=self.presence.hear,
        )
        self.reader = LogReader(settings.bootstrap, layout, self.intake, self._fail)
        ends = KafkaEnds(settings.bootstrap)
        self.ends = EndOffsets(ends)
        self.calls = OwnerCalls(session)
        self.reads = reads = Reads(
            self.owners, self.ends, self.calls, partitions=layout.partitions, epoch=self.intake.epoch
        )
        self.presence.ask_through(reads)
        service = Service(self.commander, reads, self.hub, self.presence, settings.request_timeout_s)
        self.sessions = Sessions()
        self.look = functools.partial(topics.find_log_id, ends.admin, LOOK_S)
        self.log_id = layout.log_id
        self.draining = False
        self.closed = False
        self._answered = True
        self._needs_keys = settings.auth == "jwt" and settings.jwt_secret is None
        door = Door(service, Authenticator(settings, self.keys, revocations), self.admissions, layout.log_id)
        self.app = http.application(
            settings,
            door,
            self.sessions,
            waits_for=self.waits_for,
            opened=self.opened,
        )
        self.legacy = LegacySessions()
        self.legacy_app = legacy.application(
            LegacyDoor(service, Translations(), Channels(), self.opened), self.legacy, self.waits_for
        )

    def opened(self) -> bool:
        """Whether sockets are served: the log is read, and this is not the end."""
        return self.intake.begun and not self.closed

    def waits_for(self) -> list[str]:
        """What keeps this gateway from serving."""
        if self.draining:
            return ["the end: it drains"]
        broker = [] if self._answered else ["an answer of the broker"]
        owners = [f"an owner of partition {p}" for p in self.owners.without()]
        return [*broker, *self.intake.waits_for(), *self._waits_for_keys(), *owners]

    def on_look(self, answered: bool) -> None:
        """The broker was asked for the log, and did or did not tell."""
        self._answered = answered

    def keeping_the_door(self) -> list[Coroutine[Any, Any, None]]:
        """The work that goes on as long as sockets are open: proofs end, and keys are read again."""
        return [self.admissions.run(), *([] if self.keys is None else [self.keys.run()])]

    def _waits_for_keys(self) -> list[str]:
        keyless = self._needs_keys and self.keys is not None and self.keys.present is None
        return ["the keys of AUERBACH_JWT_JWKS"] if keyless else []

    def _fail(self, why: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(why)


async def _run(settings: Settings) -> None:
    # Nothing has begun that would have to be ended.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, 130)
    listeners: list[socket.socket] = []
    rpc = None
    try:
        listeners.append(http.listening_socket(settings.host, settings.port))
        if settings.legacy:
            listeners.append(http.listening_socket(settings.host, settings.http_port, "HTTP_PORT"))
        rpc = _rpc_server(settings)
        layout = await asyncio.to_thread(
            topics.check, settings.bootstrap, settings.app_id, settings.partitions_given, START_S
        )
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=8))
            )
            gateway = _Gateway(settings, layout, session)
            await _serve(settings, gateway, listeners, rpc, stack)
    finally:
        if rpc is not None:
            await rpc.stop(0)
        for listener in listeners:
            listener.close()


def _rpc_server(settings: Settings) -> "RpcServer | None":
    """The port of the replaced service's gRPC, if it is served; the library is loaded then only."""
    if not settings.legacy:
        return None
    from web.rpc.server import RpcServer

    return RpcServer(settings.host, settings.grpc_port)


async def _serve(
    settings: Settings,
    gateway: _Gateway,
    listeners: list[socket.socket],
    rpc: "RpcServer | None",
    stack: AsyncExitStack,
) -> None:
    """Serve until a signal or a failure; whatever happens, what was started is ended in the reverse order."""
    stopped = _on_signals()
    stack.push_async_callback(gateway.ends.close)
    stack.push_async_callback(gateway.calls.close)
    stack.push_async_callback(gateway.producer.close, FLUSH_S)
    stack.push_async_callback(gateway.reader.close)
    stack.push_async_callback(gateway.hub.close)
    stack.push_async_callback(gateway.presence.close)
    gateway.reader.start()
    for app, listener in zip((gateway.app, gateway.legacy_app), listeners, strict=False):
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener, backlog=http.BACKLOG).start()
    if rpc is not None:
        stack.push_async_callback(rpc.stop)
        await rpc.start(gateway.reads, settings.request_timeout_s)
    tasks = [
        asyncio.create_task(work)
        for work in (
            gateway.commander.run(),
            gateway.presence.run(),
            gateway.sessions.run(),
            gateway.legacy.run(),
            *gateway.keeping_the_door(),
            log_watch.watch(gateway.log_id, gateway.look, gateway.on_look),
        )
    ]
    ends: list[asyncio.Future[None]] = [stopped, gateway.failed, *tasks]
    _log.info("gateway serves", host=settings.host, port=settings.port, origin=gateway.commander.origin)
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        gateway.draining = True
        if done == {stopped}:
            await _drain(gateway, settings)
        else:
            await _give_up(gateway)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for ended in done:
        ended.result()  # raises what ended the gateway, if it was no signal


async def _drain(gateway: _Gateway, settings: Settings) -> None:
    """Readiness is red already: whoever sends clients here may see it first; then every socket is told to go."""
    _log.info("gateway drains", sockets=len(gateway.sessions), pending=len(gateway.commander))
    await asyncio.sleep(settings.drain_delay_s)
    gateway.closed = True
    await asyncio.gather(
        gateway.sessions.drain(CLOSE_S, spread_s=settings.drain_spread_s),
        gateway.legacy.drain(CLOSE_S, spread_s=settings.drain_spread_s),
    )


async def _give_up(gateway: _Gateway) -> None:
    """This gateway has lost its place in the log, or the means to write to it: clients resume at another (4409)."""
    gateway.closed = True
    await asyncio.gather(
        gateway.sessions.close_all(LOST_PLACE, CLOSE_S), gateway.legacy.close_all(LEGACY_FAILED, CLOSE_S)
    )


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
