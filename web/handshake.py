"""A request for a socket, until it is a session or was refused in words (protocol §1, §9; RFC 6455 §4.2)."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError

from app.config import Settings
from web.auth import Refused
from web.frames import FRAME_BYTES, PROTOCOL
from web.origins import Origins
from web.session import Door, Session, Socket, new_socket
from web.sessions import Sessions

VERSION = "13"


class Handshake:
    """The handlers of `/v1/ws`; sockets are refused until `opened`."""

    def __init__(self, settings: Settings, door: Door, sessions: Sessions, opened: Callable[[], bool]) -> None:
        self._origins = Origins(settings.origins, names_believed=settings.auth == "dev")
        self._door = door
        self._sessions = sessions
        self._opened = opened

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Serve a socket until its end, or say why there is none."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        authorization = request.headers.getall("Authorization", ())
        known = await self._door.authenticator.handshake(authorization, _users(request))
        if isinstance(known, Refused):
            if known.why == "unavailable":
                return _unavailable(known.message)
            return problem(401, "unauthorized", known.message, {"WWW-Authenticate": "Bearer"})
        response = new_socket(FRAME_BYTES, (PROTOCOL,))
        ways = await accept(request, response)
        if isinstance(ways, web.Response):
            return ways
        session = Session(self._door, response, *ways, known)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.remove(session)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What keeps anybody from opening a socket with this request, whoever it is."""
        # The page's origin first: a page that may not come in is told nothing else.
        if not self._origins.allow(request.headers.getall("Origin", ()), request.headers.get("Host", "")):
            return problem(403, "forbidden", "pages of this origin may not open sockets here (AUERBACH_ORIGINS)")
        if not self._opened():
            return _unavailable("this gateway does not serve now")
        return no_upgrade(request)


async def no_method(_request: web.Request) -> web.Response:
    """Refuse what is no GET."""
    return problem(405, "method_not_allowed", "a socket is opened by GET", {"Allow": "GET"})


def no_upgrade(request: web.Request) -> web.Response | None:
    """The refusal of a request that asks for no WebSocket, or for one of another version."""
    if request.headers.get("Upgrade", "").strip().lower() != "websocket":
        return problem(400, "invalid", "this is the door of WebSockets: `Upgrade: websocket` is missing")
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        return problem(426, "invalid", f"WebSockets of version {VERSION} only", {"Sec-WebSocket-Version": VERSION})
    return None


async def accept(request: web.Request, socket: Socket) -> tuple[asyncio.Transport, AbstractStreamWriter] | web.Response:
    """Do the handshake; the refusal if it is none, or if the client is gone."""
    try:
        writer = await socket.prepare(request)
    except web.HTTPBadRequest as bad:
        return problem(400, "invalid", bad.text or "no WebSocket handshake")
    except ConnectionResetError:
        return _to_nobody()
    if request.transport is None:
        return _to_nobody()
    socket.connection = request.transport
    return request.transport, writer


def keep_content_out_of_logs() -> None:
    """Let aiohttp's lines be logged without what a client sent, which may be a token.

    It logs a request that it cannot parse, a header that is too long among them, and the subprotocols of a client that
    offers none of ours.
    """
    for name in ("aiohttp.server", "aiohttp.websocket"):
        logging.getLogger(name).addFilter(_without_content)


def _without_content(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
    return record.name != "aiohttp.websocket"


def _users(request: web.Request) -> list[str] | None:
    """Each `user` of the query; None if it is not UTF-8: what stands in for the bad bytes is another name."""
    try:
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        return None
    return [value for name, value in query if name == "user"]


def _to_nobody() -> web.Response:
    """For a client that went before its turn came, as many do where a gateway is busy or was paused.

    aiohttp finds that it cannot be written, and lets go. It would close a socket, which is not ready for that.
    """
    return web.Response(status=400)


def _unavailable(detail: str) -> web.Response:
    return problem(503, "unavailable", detail, {"Retry-After": "1"})


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal (RFC 9457)."""
    return web.json_response(
        {"status": status, "code": code, "detail": detail},
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )
