"""A supervised connection to RabbitMQ: made, watched, and made again whenever it ends.

Not aio-pika's robust connection: that one restores channels and consumers quietly, in whatever state the queue is by
then. Here whatever ends is told in one clear error, turns the health red, and begins again from declaring.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ConnectionClosed,
    ProbableAuthenticationError,
)
from aiormq.abc import AbstractChannel as RawChannel
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed, InvalidFrameError

from app.config import Settings
from app.telemetry import logger
from bridges import metrics

CONNECT_S = 5.0
CLOSE_S = 2.0
# RabbitMQ closes after two silent intervals, aiormq after three; the probe below is quicker than both.
HEARTBEAT_S = 4
PROBE_S = 2.0
ANSWER_S = 4.0
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 30.0
# What served for so long did serve: the next pause begins small, and the next cause is told whatever it is.
STEADY_S = 10.0
# A cause that stays the same is told again this often.
TELL_AGAIN_S = 60.0

Serve = Callable[[AbstractConnection], Awaitable[None]]

_log = logger("bridge")


class LostError(Exception):
    """The work on a connection cannot go on; the message tells a person why, with the setting's name where one is it.

    Raised by who serves the connection; the link tells it, pauses, and begins again.
    """


class Link:
    """One connection to RabbitMQ for one part of a bridge."""

    def __init__(self, settings: Settings, name: str, stopping: asyncio.Event) -> None:
        """`name`: of the part, for logs, metrics and RabbitMQ's list of connections; one of a fixed few."""
        self.name = name
        self.waits_for: str | None = f"RabbitMQ at {settings.rabbitmq_place}"
        self._settings = settings
        self._stopping = stopping
        self._failures = 0
        self._since: float | None = None  # when the work began, by the loop's clock
        self._told: tuple[str, float] = ("", 0.0)
        metrics.CONNECTED.labels(name).set(0)

    def ready(self) -> None:
        """Who serves the connection says: all is declared and the work goes on."""
        if self.waits_for is not None:
            _log.info("bridge serves", part=self.name, rabbitmq=self._settings.rabbitmq_place)
            self._since = asyncio.get_running_loop().time()
        self.waits_for = None
        metrics.CONNECTED.labels(self.name).set(1)

    async def run(self, serve: Serve) -> None:
        """Connect and have `serve` work on the connection, again and again, until `stopping` is set.

        `serve` runs until it raises or is cancelled, because the connection ended. Once `stopping` is set it finishes
        what is under way and returns; who runs the link bounds that wait.
        """
        while not self._stopping.is_set():
            try:
                await self._once(serve)
            except Exception as error:  # noqa: BLE001 - an edge: told, counted, and begun again
                self._fail(error)
            if not self._stopping.is_set():
                await self._pause()

    async def _once(self, serve: Serve) -> None:
        connection = await self._connect()
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[BaseException | None] = loop.create_future()

        def on_close(_: object, cause: BaseException | None) -> None:
            if not lost.done():
                lost.set_result(cause)

        connection.close_callbacks.add(on_close)
        work = asyncio.ensure_future(serve(connection))
        probe = asyncio.create_task(_probe(connection))
        try:
            ends: set[asyncio.Future[Any]] = {work, probe, lost}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not lost.done() and isinstance(work.exception(), AMQPError):
                await asyncio.wait({lost}, timeout=0.5)  # a channel tells its end before the connection tells why
            was_lost = lost.done()  # before it is closed by us, which tells nothing
        finally:
            await _end({work, probe})
            await _close(connection)
        if was_lost and not (work.done() and not work.cancelled() and isinstance(work.exception(), LostError)):
            raise lost.result() or LostError("RabbitMQ closed the connection")
        for task in (work, probe):
            if task.done() and not task.cancelled():
                task.result()

    async def _connect(self) -> AbstractConnection:
        """A connection, or the error that there was; what is under way ends when `stopping` is set."""
        settings = self._settings
        options: dict[str, Any] = {"heartbeat": HEARTBEAT_S, "name": f"auerbach {settings.bridge} {self.name}"}
        connecting: asyncio.Future[AbstractConnection] = asyncio.ensure_future(
            aio_pika.connect(settings.rabbitmq_url, timeout=CONNECT_S, **options)
        )
        stopped = asyncio.ensure_future(self._stopping.wait())
        ends: set[asyncio.Future[Any]] = {connecting, stopped}
        try:
            await asyncio.wait(ends, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                return connecting.result()
            raise TimeoutError
        finally:
            await _end(ends)

    def _fail(self, error: Exception) -> None:
        cause = explain(self._settings, error)
        now = asyncio.get_running_loop().time()
        if self._since is not None and now - self._since >= STEADY_S:
            self._failures, self._told = 0, ("", 0.0)
        self._since = None
        self._failures += 1
        self.waits_for = cause
        metrics.CONNECTED.labels(self.name).set(0)
        metrics.LOSSES.labels(self.name).inc()
        if self._stopping.is_set() or (self._told[0] == cause and now - self._told[1] < TELL_AGAIN_S):
            return
        self._told = (cause, now)
        ours = not isinstance(error, LostError | AMQPError | OSError | TimeoutError)
        _log.error("bridge cannot serve", part=self.name, cause=cause, exc_info=error if ours else None)

    async def _pause(self) -> None:
        """Wait, longer after each failure and never as long as others (AWS, "Exponential Backoff And Jitter")."""
        longest = min(MOST_PAUSE_S, LEAST_PAUSE_S * 2 ** min(self._failures, 10))
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(LEAST_PAUSE_S, longest)):
                await self._stopping.wait()


async def raw_channel(connection: AbstractConnection) -> RawChannel:
    """A channel without aio-pika's objects around its messages, which raise on what they cannot interpret."""
    channel = connection.channel(publisher_confirms=False)
    async with asyncio.timeout(ANSWER_S):
        await channel.initialize()
        return await channel.get_underlay_channel()


def explain(settings: Settings, error: BaseException) -> str:
    """What a person has to know of `error`: which setting or right is at fault, and what RabbitMQ says."""
    place = f"RabbitMQ at {settings.rabbitmq_place}"
    user = settings.rabbitmq_username
    said = _said(error)
    match error:
        case LostError():
            return str(error)
        case ProbableAuthenticationError() | AuthenticationError():
            return f"RABBITMQ_USERNAME, RABBITMQ_PASSWORD: {place} refuses the login of {user}: {said}"
        case ConnectionNotAllowed():
            return f"RABBITMQ_VIRTUAL_HOST: {place}: {said}"
        case InvalidFrameError() if "Connection.Close" in said:
            # aiormq drops what RabbitMQ says when it refuses to open the virtual host.
            return f"RABBITMQ_VIRTUAL_HOST: {place}: there is no such virtual host, or {user} may not use it"
        case ChannelAccessRefused():
            return f"{place}: {user} lacks a right: {said}"
        case ConnectionClosed() | AMQPError() if not isinstance(error, OSError) or isinstance(error, ConnectionClosed):
            return f"{place}: {said}"
        case TimeoutError():
            return f"{place} does not answer"
        case OSError() if "CERTIFICATE_VERIFY_FAILED" in said:
            return f"AMQP_URL, SSL_CERT_FILE: the certificate of {place} is not trusted: {said}"
        case OSError():
            return f"RABBITMQ_HOST, RABBITMQ_PORT: {place} cannot be reached: {said}"
        case _:
            return f"{place}: {error!r}"


def _said(error: BaseException) -> str:
    return " ".join(str(part) for part in error.args) or type(error).__name__


async def _probe(connection: AbstractConnection) -> None:
    """Ask for something every `PROBE_S`: a RabbitMQ that hangs, or a network that swallows, closes nothing.

    One that blocks publishers reads nothing of theirs until its alarm is over, this question included; it goes on
    sending heartbeats, and aiormq ends a connection that has none.
    """
    channel: RawChannel | None = None
    while True:
        await _unblocked(connection)
        try:
            async with asyncio.timeout(ANSWER_S):
                channel = channel or await raw_channel(connection)
                await channel.exchange_declare("amq.topic", passive=True)  # passive: needs no right
        except TimeoutError:
            if not await blocked(connection):
                raise TimeoutError("no answer") from None
            channel = None  # aiormq closes a channel whose question was given up
        await asyncio.sleep(PROBE_S)


async def blocked(connection: AbstractConnection) -> bool:
    """Whether RabbitMQ takes no messages on this connection now (its `connection.blocked`: memory or disk is short)."""
    waiting = asyncio.ensure_future(_unblocked(connection))
    await asyncio.wait({waiting}, timeout=0.01)
    if waiting.done():
        waiting.result()
        return False
    waiting.cancel()
    return True


async def _unblocked(connection: AbstractConnection) -> None:
    transport = connection.transport
    if transport is not None:
        await transport.connection.ready()


async def _end(tasks: set[asyncio.Future[Any]]) -> None:
    """Cancel what is not done, and wait for it, not for ever."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_S)


async def _close(connection: AbstractConnection) -> None:
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=CLOSE_S)
    if closing.done():
        closing.exception()  # it is lost anyway
    else:
        closing.cancel()
