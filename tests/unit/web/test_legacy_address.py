"""Ids in the address of an old socket: whatever an id may be arrives as it is, and what is none is refused."""

from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from app.domain import rules
from app.domain.commands import CreateGroup, Send
from tests.support.old_app import CONNECTED, WITHIN_S, address
from tests.unit.web.legacy_world import running
from tests.unit.web.world import World
from web.legacy.address import PREFIX, BadAddressError, read_address

ids = st.text(min_size=1, max_size=40).filter(lambda s: rules.bad_id(s) is None)
HOSTILE = [
    "a/b",
    "a%2Fb",
    "100%",
    "a+b",
    "a b",
    "..a",
    "%",
    "é",
    "e\u0301",
    "👩‍👩‍👧",
    "?",
    "#",
    "a&user=b",
    "a=b;c",
    '"\\',
    "group",
]


@given(ids, ids)
def test_every_id_comes_through(group: str, user: str) -> None:
    raw = f"{PREFIX}{quote(group, safe='')}"
    assert read_address(raw, f"a=b&user={quote(user, safe='')}&c") == (group, user)


def test_a_plus_is_a_plus_in_the_path_and_a_space_in_the_query() -> None:
    assert read_address(PREFIX + "a+b", "user=a+b%2B") == ("a+b", "a b+")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("", "user=a"),
        ("g", ""),
        ("g", "User=a"),
        ("g", "user"),
        ("g", "user="),
        ("g", "user=+"),
        ("g", "user=%0A%20"),
        ("g", "user=a&user=a"),
        ("g", "user=a&%75ser=b"),
        ("x" * 129, "user="),
    ],
)
def test_what_names_no_group_or_no_user_is_refused(path: str, query: str) -> None:
    with pytest.raises(BadAddressError):
        read_address(PREFIX + path, query)


NOBODYS = [
    ("%20g", "user=a"),
    ("%0A", "user=a"),
    ("%FF", "user=a"),
    ("%ED%A0%80", "user=a"),
    ("%zz", "user=a"),
    ("%", "user=a"),
    ("x" * 129, "user=a"),
    ("%2E", "user=a"),
    ("g", "user=%00"),
    ("g", "user=%C3"),
    ("g", "user=a%20"),
    ("g", "user=" + "x" * 129),
]


@pytest.mark.parametrize(("path", "query"), [*NOBODYS, ("\udcff", "user=a")])
def test_nobody_is_a_member_by_what_can_be_no_id(path: str, query: str) -> None:
    assert read_address(PREFIX + path, query) is None


async def test_what_can_be_no_id_is_accepted_and_closed_with_1008_as_any_non_member_is() -> None:
    async with running(World()) as gateway:
        for path, query in NOBODYS:
            url = URL(f"http://127.0.0.1:{gateway.port}{PREFIX}{path}?{query}", encoded=True)
            async with gateway.http.ws_connect(url) as socket:
                assert (await socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.CLOSE, path
                assert socket.close_code == 1008


async def test_hostile_ids_come_through_a_real_socket() -> None:
    async with running(World()) as gateway:
        for number, each in enumerate(HOSTILE):
            gateway.world.decide(CreateGroup(id=f"c{number}", group=each, by=each, name="G"))
            app = await gateway.connect(each, each)
            assert await app.next() == (each, CONNECTED)
            gateway.world.decide(Send(id=f"s{number}", group=each, by=each, client_msg_id="k", text=each))
            assert await app.text() == each


@pytest.mark.parametrize(
    ("method", "raw", "headers", "status"),
    [
        ("GET", "/v1/messages/g", {}, 400),
        ("GET", "/v1/messages/g?user=", {}, 400),
        ("GET", "/v1/messages/%FF?user=a", {}, 400),
        ("GET", "/v1/messages/?user=a", {}, 400),
        ("GET", "/v1/messages/g?user=a", {}, 400),
        ("GET", "/v1/messages/g?user=a", {"Upgrade": "websocket", "Sec-WebSocket-Version": "12"}, 426),
        ("GET", "/v1/messages/a/b?user=a", {}, 404),
        ("POST", "/v1/messages/g?user=a", {}, 405),
    ],
)
async def test_what_opens_no_socket_is_refused_in_words(
    method: str, raw: str, headers: dict[str, str], status: int
) -> None:
    async with running(World()) as gateway:
        base = address(gateway.port, "g", "a")
        url = type(base)(f"http://127.0.0.1:{gateway.port}{raw}", encoded=True)
        async with gateway.http.request(method, url, headers=headers) as response:
            assert response.status == status
            assert response.content_type == "application/problem+json"
            body = await response.json()
            assert body["status"] == status
            assert set(body) == {"status", "code", "detail"}


async def test_a_missing_user_is_refused_before_any_socket() -> None:
    async with running(World()) as gateway:
        base = address(gateway.port, "g", "a")
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        async with gateway.http.get(base.with_query({}), headers=headers) as response:
            assert response.status == 400


async def test_health_is_told_on_this_port_too() -> None:
    async with running(World()) as gateway:
        for path in ("/healthz", "/readyz"):
            async with gateway.http.get(address(gateway.port, "g", "a").with_path(path)) as response:
                assert response.status == 200
        async with gateway.http.get(address(gateway.port, "g", "a").with_path("/v1/ws")) as response:
            assert response.status == 404
