"""The gateway's plain HTTP."""

import socket
from collections.abc import AsyncIterator

import pytest

from app.config import SettingsError
from tests.unit.web.world import Gateway, World, running
from web import http


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running(World()) as gateway:
        yield gateway


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/static/auerbach.js", "text/javascript")])
async def test_the_page_and_its_client_are_served_under_a_strict_policy(gateway: Gateway, path: str, kind: str) -> None:
    async with gateway.http.get(gateway.url + path) as response:
        assert response.status == 200
        assert response.content_type == kind
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/../http.py", "/static/..%2fhttp.py", "/static/.hidden", "/static/", "/none"]
)
async def test_nothing_else_is_served(gateway: Gateway, path: str) -> None:
    async with gateway.http.get(gateway.url + path) as response:
        assert response.status == 404


async def test_readiness_names_what_it_waits_for_and_health_does_not_care(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/readyz") as response:
        assert (response.status, (await response.json())["ready"]) == (200, True)
    gateway.waiting.append("an owner of partition 3")
    async with gateway.http.get(gateway.url + "/readyz") as response:
        assert response.status == 503
        assert await response.json() == {"ready": False, "waiting_for": ["an owner of partition 3"]}
    async with gateway.http.get(gateway.url + "/healthz") as response:
        assert response.status == 200


async def test_metrics_are_prometheus_text(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/metrics") as response:
        assert "auerbach_gateway_sockets" in await response.text()


async def test_the_page_is_told_whether_names_are_believed(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/v1/config") as response:
        assert await response.json() == {"dev": True}


async def test_a_plain_request_to_the_sockets_door_is_a_bad_one(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/v1/ws?user=alice") as response:
        assert response.status == 400


def test_a_taken_port_is_a_setting_that_is_wrong() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"PORT: 127.0.0.1:{port}"):
            http.listening_socket("127.0.0.1", port)


def test_connections_have_small_send_buffers() -> None:
    with http.listening_socket("127.0.0.1", 0) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
        with client, served:
            # Linux doubles what is asked for.
            assert served.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * http.SEND_BUFFER_BYTES
