"""A bridge's health and metrics on a port of its own: `/healthz`, `/readyz`, `/metrics`."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


def application(
    waits_for: Callable[[], list[str]], states: Callable[[], dict[str, str]], *, metrics: bool
) -> web.Application:
    """The application; `waits_for` names what keeps the bridge from its work, `states` what each part does."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        waiting = waits_for()
        told = {"ready": not waiting, "waiting_for": waiting, "parts": states()}
        return web.json_response(told, status=503 if waiting else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if metrics:
        app.router.add_get("/metrics", scrape)
    return app
