"""One old socket's life: let in by the owner's word, one output channel a member, pings, a clean end (protocol §8)."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSMsgType
from aiohttp.abc import AbstractStreamWriter

from app.domain import rules
from app.domain.instants import to_text
from app.domain.outcomes import Rejection
from app.telemetry import logger
from web import frames
from web import metrics as gateway_metrics
from web.conversation import Service
from web.legacy import metrics
from web.legacy.channels import Channels, Order
from web.legacy.following import Following
from web.legacy.outbox import LegacyOutbox
from web.legacy.posting import CERTAIN_WITHIN_S, Posting
from web.legacy.translation import CONNECTED, Batch, Translations, information
from web.presence_change import PresenceChange
from web.reads_client import UnavailableError
from web.session import GOING_AWAY, Socket

PING_S = 1.0
SILENT_S = 60.0
OPENS_S = 0.05

REPLACED = 1000
NO_TEXT = 1007
NO_MEMBER = 1008
TOO_LONG = 1009
FAILED = 1011
# After these nothing of what was received is posted any more.
_FINAL = frozenset({NO_MEMBER, FAILED})

_log = logger("web")


@dataclass(slots=True, frozen=True)
class LegacyDoor:
    """What the old sockets share. `opened`: whether the gateway reads the log, and does not end."""

    service: Service
    translations: Translations
    channels: Channels
    opened: Callable[[], bool]


class LegacySession:
    """A prepared WebSocket of `user` in `group`, until its end."""

    def __init__(
        self,
        door: LegacyDoor,
        socket: Socket,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        group: str,
        user: str,
    ) -> None:
        self.group = group
        self.user = user
        self.id = uuid.uuid4().hex
        self._door = door
        self._socket = socket
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._outbox = LegacyOutbox(
            transport,
            user,
            door.translations,
            drain=writer.drain,
            is_closed=socket.is_closed,
            on_slow=lambda: self.stop(FAILED),
            held=door.service.hub.held,
        )
        socket.before_close = self._leave
        self._posting = Posting(
            door.service, group, user, on_uncertain=lambda: self.stop(FAILED), on_outside=self._on_outside
        )
        self._following = Following(
            door.service, group, user, self._outbox, on_end=self._on_end, on_presence=self._on_presence
        )
        self._life = asyncio.timeout(None)  # ended by `stop`
        self._code: int | None = None
        self._entered = False
        self._order = Order(self.id, self.replaced)
        self._left = False
        self._leaving = False
        self._over = False
        self._heard_at = self._loop.time()
        self._hears = True

    async def run(self) -> None:
        """Serve the socket until it ends, close it, and post what was received before."""
        admission = self._loop.create_task(self._admit())
        try:
            await self._live()
            if self._code is not None:
                await self._close(self._code)
            await self._finish(admission)
        finally:
            self._leave()
            self._outbox.leave()
            self._posting.drop()
            admission.cancel()
            await asyncio.wait([admission])

    def stop(self, code: int) -> None:
        """Close the socket with `code` as soon as the loop turns; what waits to be written goes first."""
        if code in _FINAL:
            self._posting.drop()
        if self._over or self._code is not None:
            return
        self._code = code
        with contextlib.suppress(RuntimeError):  # its time is over already, and it ends with this code
            self._life.reschedule(self._loop.time())

    def bye(self, _reconnect_after_ms: int) -> None:
        """Take nothing more, and close when what was received is posted: the gateway drains."""
        if self._over or self._leaving or self._code is not None:
            return
        self._leaving = True
        self._posting.when_empty(lambda: self.stop(GOING_AWAY))

    def replaced(self) -> None:
        """The member has opened another output channel: this one gets nothing more, and its end is told to nobody."""
        metrics.REPLACED.inc()
        self._leave()
        self.stop(REPLACED)

    def beat(self, now: float) -> None:
        """Ping after a second without any frame; abort a peer that was silent for long at `now` (the loop's time)."""
        if self._hears and now - self._heard_at >= SILENT_S:
            self.abort()
        elif now - max(self._heard_at, self._outbox.written_at) >= PING_S:
            self._outbox.control(frames.ping_frame())

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    async def _live(self) -> None:
        try:
            async with self._life:
                await self._receive()
        except TimeoutError:
            pass  # stopped
        finally:
            self._over = True
            self._leave()

    async def _receive(self) -> None:
        while self._code is None:
            message = await self._socket.receive()
            self._heard_at = self._loop.time()
            if message.type is WSMsgType.TEXT:
                if not self._leaving:
                    await self._on_text(message.data)
            elif message.type is WSMsgType.PING:
                self._outbox.control(frames.pong_frame(bytes(message.data)))
            elif message.type not in {WSMsgType.PONG, WSMsgType.BINARY}:
                return  # closed by the client, or by aiohttp for what is no WebSocket (1002, 1007, 1009)
            await self._outbox.answered()

    async def _on_text(self, text: str) -> None:
        if not text:
            metrics.RECEIVED.labels("empty").inc()
            _log.debug("an empty message of an old socket was dropped", group=self.group)
        elif rules.size(text) > rules.TEXT_BYTES:
            self.stop(TOO_LONG)
        elif rules.bad_value(text):  # U+0000: no text anywhere in the log
            self.stop(NO_TEXT)
        else:
            self._hears = False  # while it is not read, its silence says nothing
            await self._posting.put(text)
            self._hears = True
            self._heard_at = self._loop.time()

    # Membership

    async def _admit(self) -> None:
        """Ask the owner; a member's socket gets its channel, and is told so first of all."""
        deadline = self._loop.time() + self._door.service.request_timeout_s
        try:
            while not self._door.opened():
                if self._loop.time() >= deadline:
                    raise UnavailableError(self.group)
                await asyncio.sleep(OPENS_S)
            answer = await self._following.ask(deadline)
            if isinstance(answer, Rejection):
                self.stop(NO_MEMBER)
                return
            if self._code is None and not self._over and not self._leaving:
                self._enter()
                self._following.begin(answer)
            self._posting.begin()
        except UnavailableError:
            self.stop(FAILED)
        except Exception:  # noqa: BLE001 - an edge: counted, logged, and the socket closes
            gateway_metrics.ERRORS.labels("legacy").inc()
            _log.exception("an old socket could not be let in", group=self.group)
            self.stop(FAILED)
        finally:
            if not self._entered:
                self._following.end()

    def _enter(self) -> None:
        self._entered = True
        now = to_text(time.time_ns() // 1_000_000)
        self._outbox.send(Batch.of([("", information(self.user, CONNECTED, now))]))
        # Before the older channel's end is told, or the user would go offline in between.
        self._door.service.presence.enter(self.group, self.user, self.id)
        self._door.channels.take(self)

    def _on_presence(self, change: PresenceChange) -> None:
        """Show who came and went. A newer channel of one's own, wherever it is, replaces this one."""
        if not self._entered or self._left:
            return
        if mine := [channel for user, channel in change.opened if user == self.user]:
            self._order.opened(mine)
        if self._left:
            return
        for batch in self._door.translations.of_presence(change):
            if not self._outbox.offer(batch):
                return

    def _on_end(self, outside: bool) -> None:
        """The subscription ended by itself; what came before is written."""
        self.stop(NO_MEMBER if outside else FAILED)

    def _on_outside(self) -> None:
        """The owner refused a message of who is no member: the event that says so is on its way, or was missed."""
        self._loop.call_later(self._door.service.request_timeout_s, self.stop, NO_MEMBER)

    # The end

    def _leave(self) -> None:
        """Leave hub and presence, and hand over what waits: nothing may be written after a CLOSE, whoever writes it."""
        if self._left:
            return
        self._left = True
        self._order.end()
        self._following.end()
        if self._entered:
            self._door.channels.give_up(self)
            self._door.service.presence.leave(self.group, self.user, self.id)
        self._outbox.finish()

    async def _close(self, code: int) -> None:
        gateway_metrics.CLOSES.labels(str(code)).inc()
        try:
            # It waits for the client's CLOSE, at most CLOSE_S (`timeout` of the response).
            await self._socket.close(code=code, drain=False)
        finally:
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # a close would wait for a reader who takes nothing

    async def _finish(self, admission: asyncio.Task[None]) -> None:
        """Post what was received before the end, once it is known that the user may."""
        if len(self._posting):
            await asyncio.wait([admission])
        await self._posting.finish(CERTAIN_WITHIN_S)
