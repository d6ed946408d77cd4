"""One socket's life: authentication, frames in, liveness, and a clean end (protocol §1, §6)."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from app.domain.outcomes import Rejection
from app.telemetry import logger
from web import frames, metrics
from web.admissions import EXPIRED, REVOKED, Admissions
from web.auth import Authenticator, Identity, Refused
from web.conversation import Conversation, Service
from web.lingering import UNREAD, close_unread
from web.outbox import Outbox
from web.refusals import INTERNAL
from web.requests import TYPES, Auth, MalformedError, Request, parse, to_ask

AUTHENTICATE_S = 10.0
MALFORMED_IN_A_ROW = 3
CLOSE_S = 5.0
SILENT_S = 2 * frames.HEARTBEAT_MS / 1000

GOING_AWAY = 1001
MALFORMED = 4400
TOO_SLOW = 4408
LOST_PLACE = 4409
NOT_AUTHENTICATED = 4501

_log = logger("web")


@dataclass(slots=True, frozen=True)
class Door:
    """What a session needs besides the service: who may enter, who is inside, and which log is behind it."""

    service: Service
    authenticator: Authenticator
    admissions: Admissions
    log_id: str


class Session:
    """A prepared WebSocket until its end. `identity`: who opened it, None if that is to be said by `auth`."""

    def __init__(
        self,
        door: Door,
        socket: "Socket",
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        identity: Identity | None,
    ) -> None:
        self._door = door
        self._socket = socket
        self._transport = transport
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(
            transport,
            drain=writer.drain,
            is_closed=socket.is_closed,
            on_slow=self._on_slow,
            held=door.service.hub.held,
        )
        socket.before_close = self._leave
        self._conversation: Conversation | None = None
        # Ends a socket whose authentication does not come, and by `stop`. A token's end is the admissions' to see.
        self._life = asyncio.timeout(None)
        self._malformed = 0
        self._code: int | None = None
        self._leaving = False
        self._over = False
        self._last_seen = self._loop.time()

    async def run(self) -> None:
        """Serve the socket until it ends, and close it."""
        try:
            await self._live()
            if self._code is not None:
                await self._close(self._code)
        finally:
            self._outbox.leave()

    async def _live(self) -> None:
        """Serve the socket until it ends, and be found nowhere any more."""
        try:
            async with self._life:
                if self._identity is None:
                    self._life.reschedule(self._loop.time() + AUTHENTICATE_S)
                else:
                    self._welcome(self._identity)
                await self._receive()
        except TimeoutError:
            if self._code is None:
                self._code = NOT_AUTHENTICATED
        finally:
            self._over = True
            self._door.admissions.leave(self)
            self._leave()

    def stop(self, code: int) -> None:
        """Close the socket with `code` as soon as the loop turns; what waits to be written goes first."""
        if self._over or self._code is not None:
            return
        self._code = code
        with contextlib.suppress(RuntimeError):  # its time is over already, and it ends with this code
            self._life.reschedule(self._loop.time())

    def bye(self, reconnect_after_ms: int) -> None:
        """Say that this gateway drains, and close when what was asked is answered (protocol §6).

        What comes from now on is not taken: the client repeats elsewhere what got no reply.
        """
        if self._over or self._leaving or self._code is not None:
            return
        self._leaving = True
        self._outbox.push(frames.bye(reconnect_after_ms))
        if self._conversation is None:
            self.stop(GOING_AWAY)
        else:
            self._conversation.when_answered(lambda: self.stop(GOING_AWAY))

    def beat(self, now: float) -> None:
        """Ping the client, or close a socket that has been silent for two heartbeats at `now` (the loop's time)."""
        if now - self._last_seen >= SILENT_S:
            self.stop(GOING_AWAY)
        else:
            self._outbox.push(frames.ping_frame())

    def abort(self) -> None:
        """End the connection at once."""
        self._outbox.discard()  # its second descriptor would keep the connection open
        self._transport.abort()

    async def _receive(self) -> None:
        while self._code is None:
            message = await self._socket.receive()
            self._last_seen = self._loop.time()
            if self._leaving and message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                continue
            if message.type is WSMsgType.TEXT:
                await self._on_text(message.data)
            elif message.type is WSMsgType.BINARY:
                self._on_malformed("a binary frame")
            elif message.type is WSMsgType.PING:
                self._outbox.push(frames.pong_frame(bytes(message.data)))
            elif message.type is not WSMsgType.PONG:
                return  # closed by the client, or by aiohttp for what is no WebSocket (1007, 1009)
            await self._outbox.answered()
            if self._conversation is not None:
                await self._conversation.room()

    async def _on_text(self, text: str) -> None:
        try:
            request = parse(text)
        except MalformedError as bad:
            self._on_malformed(str(bad))
            return
        self._malformed = 0
        try:
            if request.type == "auth" and request.refusal is None:
                await self._authenticate(request)
            else:
                self._serve(request)
        except Exception:  # noqa: BLE001 - an edge: counted, logged, answered
            metrics.ERRORS.labels("socket").inc()
            _log.exception("a request failed", type=request.type)
            self._refuse(request, INTERNAL)

    def _serve(self, request: Request) -> None:
        if self._conversation is None and request.type != "auth":
            self._refuse(request, Rejection("unauthorized", "the first request must be auth"))
        elif request.refusal is not None:
            self._refuse(request, request.refusal)
        elif request.type == "ping":
            self._accept(request)
        else:
            assert self._conversation is not None
            self._conversation.take(request)

    def _on_malformed(self, why: str) -> None:
        self._malformed += 1
        metrics.REQUESTS.labels("malformed", "invalid").inc()
        self._outbox.push(frames.reply_error(None, Rejection("invalid", why)))
        if self._malformed >= MALFORMED_IN_A_ROW:
            self.stop(MALFORMED)

    async def _authenticate(self, request: Request) -> None:
        ask = to_ask(request)
        if isinstance(ask, Rejection):
            self._refuse(request, ask)
            return
        assert isinstance(ask, Auth)
        known = await self._door.authenticator.token(ask.token)
        if self._code is not None:
            return  # closed meanwhile
        if isinstance(known, Refused):
            self._turn_away(request, known)
        elif self._conversation is not None and known.user != self._conversation.user:
            self._refuse(request, Rejection("unauthorized", "this socket is another user's"))
            self.stop(NOT_AUTHENTICATED)
        else:
            self._accept(request)
            if self._conversation is None:
                self._welcome(known)
            else:
                self._door.admissions.admit(self, known)

    def _turn_away(self, request: Request, refused: Refused) -> None:
        """Refuse a token, and close: the socket, or the session that there was."""
        if refused.why == "unavailable":
            self._refuse(request, Rejection("unavailable", refused.message, temporary=True))
            return
        self._refuse(request, Rejection("unauthorized", refused.message))
        if refused.why == "expired":
            self.stop(EXPIRED)
        elif refused.why == "revoked" and self._conversation is not None:
            self.stop(REVOKED)
        else:
            self.stop(NOT_AUTHENTICATED)

    def _welcome(self, identity: Identity) -> None:
        self._life.reschedule(None)
        self._conversation = Conversation(self._door.service, identity.user, self._outbox, self._on_broken)
        self._outbox.push(frames.hello(uuid.uuid4().hex, self._door.log_id, identity.user))
        self._door.admissions.admit(self, identity)

    def _accept(self, request: Request) -> None:
        metrics.REQUESTS.labels(request.type, "ok").inc()
        self._outbox.push(frames.reply_ok(request.id))

    def _refuse(self, request: Request, refusal: Rejection) -> None:
        kind = request.type if request.type in TYPES else "unknown"  # a client must not make labels
        metrics.REQUESTS.labels(kind, refusal.code).inc()
        self._outbox.push(frames.reply_error(request.id, refusal))

    def _on_slow(self) -> None:
        self.stop(TOO_SLOW)

    def _on_broken(self) -> None:
        self.stop(LOST_PLACE)

    def _leave(self) -> None:
        """Leave the hub, and hand over what waits: nothing may be written after a CLOSE, whoever of us writes it."""
        if self._conversation is not None:
            self._conversation.end()
        self._outbox.finish()

    async def _close(self, code: int) -> None:
        metrics.CLOSES.labels(str(code)).inc()
        try:
            # It waits for the client's CLOSE, at most CLOSE_S (`timeout` of the response).
            await self._socket.close(code=code, drain=False)
        finally:
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # a close would wait for a reader who takes nothing


class Socket(web.WebSocketResponse):
    """The server's side of a socket. `before_close` is called before it writes a CLOSE, a reply to the client's too."""

    before_close: Callable[[], None]
    connection: asyncio.Transport | None = None

    def is_closed(self) -> bool:
        """Whether a CLOSE was or is being sent."""
        return self.closed

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Close it; aiohttp itself calls this for what is no WebSocket (1007, 1009) and for the client's CLOSE."""
        self.before_close()
        if code in UNREAD and not self.closed and self.connection is not None:
            await close_unread(self.connection, code, CLOSE_S)
        return await super().close(code=code, message=message, drain=drain)


def new_socket(frame_bytes: int, protocols: tuple[str, ...] = ()) -> Socket:
    """A socket that takes messages of up to `frame_bytes`; pings and pongs come to the session."""
    return Socket(
        protocols=protocols,
        autoping=False,
        compress=False,
        timeout=CLOSE_S,
        max_msg_size=frame_bytes + 1,  # aiohttp refuses a message of just this size, too
    )
