"""The gateway's plain HTTP."""

import asyncio
import json
import socket
from typing import Any

import pytest
from yarl import URL

from app.config import SettingsError
from tests.contract.client import WITHIN_S
from tests.support.issuer import Issuer
from tests.unit.web.world import Gateway, World, running
from web import http
from web.keys import Keys


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/static/auerbach.js", "text/javascript"), ("/static/auerbach.d.ts", "text/plain")],
)
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


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


async def knock(gateway: Gateway, query: str = "?user=alice", method: str = "GET", **headers: str) -> tuple[int, Any]:
    """Ask for a socket with these headers (`_` for `-`; empty: left out): the status, and what a refusal says."""
    sent = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    url = URL(f"{gateway.url}/v1/ws{query}", encoded=True)
    async with gateway.http.request(method, url, headers={k: v for k, v in sent.items() if v}) as response:
        if response.status == 101:
            return 101, None
        assert response.content_type == "application/problem+json"
        problem = await response.json()
        assert problem["status"] == response.status
        return response.status, problem["code"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": "", "Connection": ""}, 400),
        ({"Upgrade": "h2c"}, 400),
        ({"Connection": "keep-alive"}, 400),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Sec_WebSocket_Version": ""}, 426),
        ({"Sec_WebSocket_Key": ""}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": "!"}, 400),
    ],
)
async def test_what_is_no_handshake_is_told_so(gateway: Gateway, headers: dict[str, str], status: int) -> None:
    assert await knock(gateway, **headers) == (status, "invalid")
    assert len(gateway.sessions) == 0


async def test_a_version_that_is_not_spoken_is_answered_with_the_one_that_is(gateway: Gateway) -> None:
    async with gateway.http.get(
        gateway.url + "/v1/ws", headers={**HANDSHAKE, "Sec-WebSocket-Version": "8"}
    ) as response:
        assert response.headers["Sec-WebSocket-Version"] == "13"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_socket_is_opened_by_get_alone(gateway: Gateway, method: str) -> None:
    async with gateway.http.request(method, gateway.url + "/v1/ws") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")
        assert (await response.json())["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("query", "user"),
    [
        ("?user=a%2Fb%25c%3Fd%26e%3D", "a/b%c?d&e="),
        ("?user=%F0%9F%A6%8A", "🦊"),
        ("?user=%C3%A9", "\u00e9"),
        ("?user=e%CC%81", "e\u0301"),
        ("?user=a+b%2Bc", "a b+c"),
        ("?user=%25F0", "%F0"),
        ("?user=100%", "100%"),
        ("?x=1&user=alice&userx=bob", "alice"),
    ],
)
async def test_a_name_in_the_query_is_taken_byte_for_byte(gateway: Gateway, query: str, user: str) -> None:
    async with gateway.http.ws_connect(URL(f"{gateway.url}/v1/ws{query}", encoded=True)) as socket:
        assert json.loads(await socket.receive_str(timeout=WITHIN_S))["user"] == user


@pytest.mark.parametrize(
    "query",
    [
        "?user=",
        "?user",
        "?user=%FF",
        "?user=%C3",
        "?user=%ED%A0%80",
        "?user=alice&x=%FF",
        "?user=alice&user=alice",
        "?user=alice&user=bob",
        "?user=.",
        "?user=%20alice",
        "?user=a%00b",
        "?user=a%0Ab",
        "?user=" + "%C3%A9" * 65,
    ],
)
async def test_a_name_that_cannot_be_told_is_nobody(gateway: Gateway, query: str) -> None:
    assert await knock(gateway, query) == (401, "unauthorized")


async def test_a_page_of_another_origin_is_refused_before_anything_else(gateway: Gateway) -> None:
    evil = {"Origin": "http://evil.example"}
    assert await knock(gateway, **evil) == (403, "forbidden")
    assert await knock(gateway, Authorization="Bearer nonsense", **evil) == (403, "forbidden")
    assert await knock(gateway, Upgrade="", **evil) == (403, "forbidden")
    assert await knock(gateway, Host="evil.example", **evil) == (403, "forbidden")
    gateway.waiting.append("an owner of partition 3")
    assert await knock(gateway, **evil) == (403, "forbidden")


async def test_the_own_page_and_who_is_no_page_may_open_sockets(gateway: Gateway) -> None:
    for headers in ({"Origin": gateway.url}, {}):
        async with gateway.http.ws_connect(f"{gateway.url}/v1/ws?user=alice", headers=headers) as socket:
            assert json.loads(await socket.receive_str(timeout=WITHIN_S))["type"] == "hello"


async def test_pages_of_origins_that_are_named_may_open_sockets() -> None:
    async with running(World(), origins="https://app.example") as gateway:
        client = await gateway.connect(origin="https://app.example")
        assert (await client.next())["type"] == "hello"
        await client.socket.close()


TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret-of-somebody"


async def test_no_log_line_holds_what_a_client_sent(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    requests = [
        f"GET /v1/ws HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}{'x' * 10_000}\r\n\r\n",
        f"GET /v1/ws?token={TOKEN}{'x' * 10_000} HTTP/1.1\r\nHost: h\r\n\r\n",
        f"GET /v1/ws HTTP/1.1\r\nHost: h\r\n{TOKEN}\r\n\r\n",
        f"GET /v1/ws HTTP/1.1\r\nHost: h\r\nbad header: {TOKEN}\r\n\r\n",
        f"{TOKEN}\r\n\r\n",
    ]
    for request in requests:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
    await knock(gateway, "", Authorization=f"Bearer {TOKEN}")
    await knock(gateway, f"?user=.&token={TOKEN}")
    async with gateway.http.ws_connect(f"{gateway.url}/v1/ws?user=alice", protocols=(TOKEN,)) as socket:
        await socket.receive_str(timeout=WITHIN_S)
    assert TOKEN not in "".join(
        [caplog.text, *(str(record.exc_info) for record in caplog.records), *capsys.readouterr()]
    )


async def test_tokens_of_public_keys_open_sockets_and_where_there_are_none_yet_one_is_asked_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.keys.RETRY_S", 60)
    monkeypatch.setattr("web.keys.ASKED_INTERVAL_S", 0.01)
    issuer = Issuer()
    source: list[bytes] = [b"not yet"]

    async def load() -> bytes:
        return source[-1]

    async with running(World(), keys=Keys(load, refresh_s=3600), auth="jwt") as gateway:
        header = f"Bearer {issuer.token('RS256')}"
        assert await knock(gateway, "", Authorization=header) == (503, "unavailable")
        late = await gateway.connect("")
        assert (await late.ask("auth", token=issuer.token("EdDSA")))["error"]["code"] == "unavailable"
        source.append(issuer.document)
        assert (await late.ask("auth", token=issuer.token("EdDSA")))["ok"]
        for algorithm in issuer.keys:
            client = await gateway.connect("", token=issuer.token(algorithm, "bob"))
            assert (await client.next())["user"] == "bob"
            await client.socket.close()
        await late.socket.close()


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
