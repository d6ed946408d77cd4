"""The replaced service's port: its WebSocket, and health (protocol §8)."""

from aiohttp import web

from web import metrics
from web.handshake import accept, no_method, no_upgrade, problem
from web.http import WaitsFor, add_health
from web.legacy.address import PREFIX, BadAddressError, read_address
from web.legacy.session import NO_MEMBER, LegacyDoor, LegacySession
from web.legacy.sessions import LegacySessions
from web.session import new_socket

# aiohttp reads a frame whole. A longer text is refused by us (1009); what is ignored may be longer than any text.
FRAME_BYTES = 1_048_576


def application(door: LegacyDoor, sessions: LegacySessions, waits_for: WaitsFor) -> web.Application:
    """The routes. Whoever comes is believed to be the user that is named.

    A socket that names a user is always accepted, and closed if need be: the old gateway does not survive being
    refused by HTTP.
    """

    async def messages(request: web.Request) -> web.StreamResponse:
        if "/" in request.rel_url.raw_path.removeprefix(PREFIX):
            return problem(404, "not_found", "there is nothing here; a / in a group's id is written %2F")
        try:
            member = read_address(request.rel_url.raw_path, request.rel_url.raw_query_string)
        except BadAddressError as bad:
            return problem(400, "invalid", str(bad))
        if (refusal := no_upgrade(request)) is not None:
            return refusal
        response = new_socket(FRAME_BYTES)
        ways = await accept(request, response)
        if isinstance(ways, web.Response):
            return ways
        if member is None:
            response.before_close = lambda: None
            metrics.CLOSES.labels(str(NO_MEMBER)).inc()
            await response.close(code=NO_MEMBER, drain=False)
            return response
        session = LegacySession(door, response, *ways, *member)
        sessions.add(session)
        try:
            await session.run()
        finally:
            sessions.remove(session)
        return response

    app = web.Application()
    # Whatever is there, a line feed too: what is no group's id is said so.
    path = PREFIX + r"{group:(?s:.*)}"
    app.router.add_get(path, messages, allow_head=False)
    app.router.add_route("*", path, no_method)
    add_health(app, waits_for)
    return app
