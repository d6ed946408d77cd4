"""The gateway's HTTP: the socket's door, the chat page, health and metrics."""

import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.config import Settings, SettingsError
from web.handshake import Handshake, keep_content_out_of_logs, no_method
from web.session import Door
from web.sessions import Sessions

_STATIC = Path(__file__).parent / "static"
_CLIENT = Path(__file__).parents[1] / "clients" / "js"
_CLIENT_FILES = frozenset({"auerbach.js", "auerbach.d.ts"})

BACKLOG = 1024
# The kernel would take megabytes for a slow reader before we saw any backlog (design §5).
SEND_BUFFER_BYTES = 65_536

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws://{host} wss://{host}; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

WaitsFor = Callable[[], list[str]]


def application(
    settings: Settings, door: Door, sessions: Sessions, *, waits_for: WaitsFor, opened: Callable[[], bool]
) -> web.Application:
    """The routes. `waits_for` names what keeps the gateway from serving; sockets are refused until `opened`."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def config(_request: web.Request) -> web.Response:
        return web.json_response({"dev": settings.auth == "dev"})

    async def page(request: web.Request) -> web.StreamResponse:
        return _file(request, _STATIC / "index.html")

    async def static(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        return _file(request, (_CLIENT if name in _CLIENT_FILES else _STATIC) / name)

    handshake = Handshake(settings, door, sessions, opened)
    keep_content_out_of_logs()
    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/static/{name:[A-Za-z0-9_-][A-Za-z0-9._-]*}", static)
    app.router.add_get("/v1/ws", handshake.open, allow_head=False)
    app.router.add_route("*", "/v1/ws", no_method)
    app.router.add_get("/v1/config", config)
    add_health(app, waits_for)
    if settings.metrics:
        app.router.add_get("/metrics", metrics)
    return app


def add_health(app: web.Application, waits_for: WaitsFor) -> None:
    """Tell at `/healthz` that the process is alive, and at `/readyz` whether it can serve."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_request: web.Request) -> web.Response:
        missing = waits_for()
        return web.json_response({"ready": not missing, "waiting_for": missing}, status=503 if missing else 200)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)


def listening_socket(host: str, port: int, setting: str = "PORT") -> socket.socket:
    """A socket that is bound to `host` and `port`, whose connections have small send buffers.

    `setting`: what the port comes from, for the error.

    Raises:
        SettingsError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            listener.bind(address)
            listener.listen(BACKLOG)  # two binds to one port go through with SO_REUSEADDR; two listens do not
        except OSError:
            listener.close()
            raise
    except OSError as taken:
        raise SettingsError(f"{setting}: {host}:{port} cannot be listened on: {taken.strerror}") from taken
    return listener


def _file(request: web.Request, path: Path) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound
    # 'self' does not cover WebSockets in every browser (CSP 3 says it does), so the origin is named.
    host = "".join(c for c in request.host if c.isalnum() or c in ".:[]-")
    headers = {name: value.format(host=host) for name, value in _HEADERS.items()}
    if path.suffix == ".js":
        headers["Content-Type"] = "text/javascript; charset=utf-8"  # RFC 9239; Python's table has an older name
    elif path.suffix == ".ts":
        headers["Content-Type"] = "text/plain; charset=utf-8"  # the table's is a video
    return web.FileResponse(path, headers={**headers, "Cache-Control": "no-cache"})
