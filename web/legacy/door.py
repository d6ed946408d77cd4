"""The replaced service's port: its WebSocket, and health (protocol §8)."""

from aiohttp import web

from web.handshake import VERSION, problem, to_nobody
from web.http import WaitsFor, add_health
from web.legacy.address import PREFIX, BadAddressError, read_address
from web.legacy.session import LegacyDoor, LegacySession, prepared_socket
from web.legacy.sessions import LegacySessions


def application(door: LegacyDoor, sessions: LegacySessions, waits_for: WaitsFor) -> web.Application:
    """The routes. Whoever comes is believed to be the user that is named.

    A socket with a good address is always accepted, and closed if need be: the old gateway does not survive being
    refused by HTTP.
    """

    async def messages(request: web.Request) -> web.StreamResponse:
        if "/" in request.rel_url.raw_path.removeprefix(PREFIX):
            return problem(404, "not_found", "there is nothing here; a / in a group's id is written %2F")
        try:
            group, user = read_address(request.rel_url.raw_path, request.rel_url.raw_query_string)
        except BadAddressError as bad:
            return problem(400, "invalid", str(bad))
        if request.headers.get("Upgrade", "").strip().lower() != "websocket":
            return problem(400, "invalid", "this is the door of WebSockets: `Upgrade: websocket` is missing")
        if request.headers.get("Sec-WebSocket-Version") != VERSION:
            return problem(426, "invalid", f"WebSockets of version {VERSION} only", {"Sec-WebSocket-Version": VERSION})
        response = prepared_socket()
        try:
            writer = await response.prepare(request)
        except web.HTTPBadRequest as bad:
            return problem(400, "invalid", bad.text or "no WebSocket handshake")
        except ConnectionResetError:
            return to_nobody()
        if request.transport is None:
            return to_nobody()
        session = LegacySession(door, response, request.transport, writer, group, user)
        sessions.add(session)
        try:
            await session.run()
        finally:
            sessions.remove(session)
        return response

    async def no_method(_request: web.Request) -> web.Response:
        return problem(405, "method_not_allowed", "a socket is opened by GET", {"Allow": "GET"})

    app = web.Application()
    # Whatever is there, a line feed too: what is no group's id is said so.
    path = PREFIX + r"{group:(?s:.*)}"
    app.router.add_get(path, messages, allow_head=False)
    app.router.add_route("*", path, no_method)
    add_health(app, waits_for)
    return app
