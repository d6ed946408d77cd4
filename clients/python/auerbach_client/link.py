"""The link: one connection after another, until it is closed or the server says not to come back.

It knows nothing of groups. Its listener is told when a connection has said hello, posts on it what is open, and gets
every frame in order. What was posted on a connection that ended is forgotten: the listener posts it again.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

import aiohttp

from auerbach_client.backoff import Backoff
from auerbach_client.connection import Connection, Dialer, HandshakeError
from auerbach_client.errors import EndedError
from auerbach_client.frames import Hello, encode
from auerbach_client.pace import Pace
from auerbach_client.renewal import renew

Key = int | str

# A connection that lasted so long was a good one: the next failure starts again with the shortest wait.
_STEADY_S = 10.0
_WATCH_S = 0.5
# The server pings every heartbeat; who says nothing for almost two of them is gone (protocol §1).
_SILENT_HEARTBEATS, _LEAST_SILENT_S = 1.9, 0.1
# What a `bye` may ask for. The least grows while no connection stays, up to the protocol's longest wait, so that
# gateways that send everybody away at once are not hammered.
_SHORTEST_BYE_S, _LONGEST_BYE_S = 0.05, 60.0
_LONGEST_LEAST_S = 30.0
# After 4429, "reconnect, later": as if so many attempts had failed.
_LATER_ATTEMPTS = 3

_log = logging.getLogger("auerbach_client")


class Listener(Protocol):
    """Who uses the link."""

    def connected(self, hello: Hello) -> None:
        """A connection is there; post what is open."""

    async def received(self, raw: bytes) -> None:
        """One frame. No other is read before this returns."""

    def ended(self, error: EndedError) -> None:
        """There will be no further connection."""


class Link:
    """Keeps one connection alive. `trouble` says why the last attempt to connect failed."""

    def __init__(
        self, http: aiohttp.ClientSession, dialer: Dialer, listener: Listener, *, reconnect: Backoff, reply_s: float
    ) -> None:
        self._http = http
        self._dialer = dialer
        self._listener = listener
        self._reconnect = reconnect
        self._reply_s = reply_s
        self._connection: Connection | None = None
        self.trouble = ""
        self._attempt = 0
        self._bye_s: float | None = None
        self._least_bye = Backoff(_SHORTEST_BYE_S, _LONGEST_LEAST_S)
        self._unauthorized = False
        # Bounded by the listener: one request has one entry, and the requests that are open are counted there.
        self._outbox: dict[Key, bytes] = {}
        self._tokens = itertools.count(1)
        self._posted = asyncio.Event()
        self._awaited: dict[Key, float] = {}

    @property
    def online(self) -> bool:
        """Whether there is a connection that has said hello."""
        return self._connection is not None

    @property
    def awaiting(self) -> bool:
        """Whether a reply is to come on this connection, to whatever was posted: it may become overdue."""
        return bool(self._outbox or self._awaited)

    def post(self, key: Key, frame: bytes) -> bool:
        """Send `frame` on this connection, if there is one; its reply is overdue some time after it was sent.

        Returns whether there is one.
        """
        if self._connection is None:
            return False
        self._outbox.pop(key, None)
        self._outbox[key] = frame
        self._posted.set()
        return True

    def withdraw(self, key: Key) -> bool:
        """Nobody waits for the reply to `key` any more: do not send it if it was not sent yet; whether it was not."""
        return self._outbox.pop(key, None) is not None

    def settled(self, key: Key) -> None:
        """The reply to `key` has come."""
        self._awaited.pop(key, None)

    def leaving(self, after_s: float) -> None:
        """The server is about to close, and asks for a new connection only after so long."""
        self._bye_s = min(after_s, _LONGEST_BYE_S)

    def cut(self) -> None:
        """Break the connection as a bad network does."""
        if self._connection is not None:
            self._connection.cut()

    async def run(self) -> None:
        """Connect, serve and connect again, until cancelled or told not to come back."""
        try:
            while True:
                await self._once()
                self._attempt += 1
                await asyncio.sleep(self._pause_s())
        except EndedError as error:
            self._listener.ended(error)
        except Exception as bug:  # noqa: BLE001 - the task's edge: all who wait must hear of it
            _log.exception("the client failed")
            self._listener.ended(EndedError(f"the client failed: {bug!r}"))

    def _pause_s(self) -> float:
        """The wait before the next connection: what a `bye` asked for, else full jitter."""
        asked_s, self._bye_s = self._bye_s, None
        if asked_s is None:
            return self._reconnect.delay_s(self._attempt)
        return max(asked_s, self._least_bye.delay_s(self._attempt - 1))

    async def _once(self) -> None:
        """One connection, from the handshake to its end."""
        try:
            connection = await self._dialer.connect(self._http)
        except HandshakeError as failed:
            self.trouble = str(failed)
            _log.info("no connection: %s", failed)
            self._give_up(failed)
            return
        self._unauthorized = False
        since = asyncio.get_running_loop().time()
        code = await self._serve(connection)
        _log.info("the connection ended with %s", code)
        if code is not None and 4500 <= code <= 4599:
            raise EndedError(f"the server closed with {code} and wants no reconnection", code)
        if asyncio.get_running_loop().time() - since >= _STEADY_S:
            self._attempt = 0
        if code == 4429:
            self._attempt = max(self._attempt, _LATER_ATTEMPTS)

    def _give_up(self, failed: HandshakeError) -> None:
        """Raise EndedError if trying again cannot help."""
        status, code = failed.status, failed.code
        if code is not None and 4500 <= code <= 4599:
            raise EndedError(str(failed), code)
        if status is None or status >= 500 or status in {408, 429}:
            return
        # An expired token is worth another try with a new one, once.
        if status == 401 and self._dialer.renews_token and not self._unauthorized:
            self._unauthorized = True
            return
        raise EndedError(str(failed), status)

    async def _serve(self, connection: Connection) -> int | None:
        """Read and write until the connection ends; its close code."""
        self._connection = connection
        works: list[Coroutine[Any, Any, None]] = [self._write(connection), self._watch(connection)]
        if self._dialer.renews_token:
            works.append(renew(connection.token, self._dialer.fresh_token, self._present))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            self._listener.connected(connection.hello)
            async for raw in connection.frames():
                await self._listener.received(raw)
        finally:
            self._connection = None
            self._outbox.clear()
            self._awaited.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await connection.close()
        return connection.close_code

    async def _write(self, connection: Connection) -> None:
        """Send what is posted, in order, no faster than the server allows."""
        pace = Pace(connection.hello.limits.requests_per_second)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # the reader sees the end of it
            while True:
                while not self._outbox:
                    self._posted.clear()
                    await self._posted.wait()
                await pace.turn()
                if not self._outbox:  # withdrawn meanwhile
                    continue
                key = next(iter(self._outbox))
                frame = self._outbox.pop(key)
                self._awaited.pop(key, None)
                self._awaited[key] = asyncio.get_running_loop().time()
                await connection.send(frame)

    async def _watch(self, connection: Connection) -> None:
        """Cut a connection on which a reply is overdue (every request has an outcome within 10 s, protocol §6), or
        that is silent: no event, no reply and no ping.
        """
        silent_s = max(_LEAST_SILENT_S, _SILENT_HEARTBEATS * connection.hello.heartbeat_ms / 1000)
        while True:
            await asyncio.sleep(min(_WATCH_S, self._reply_s / 4, silent_s / 20))
            oldest = next(iter(self._awaited.values()), None)
            if oldest is not None and asyncio.get_running_loop().time() - oldest > self._reply_s:
                _log.warning("no reply within %.1f s: connecting again", self._reply_s)
                return connection.cut()
            if connection.silent_s > silent_s:
                _log.warning("silent for %.1f s: connecting again", silent_s)
                return connection.cut()

    def _present(self, token: str) -> None:
        """Show the server a fresh token. It costs no rate, but is written by the one writer."""
        key = f"a{next(self._tokens)}"
        self.post(key, encode({"type": "auth", "id": key, "token": token}))
