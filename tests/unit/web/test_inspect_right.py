"""Who may look at the operators' pages, over real HTTP, and the rules behind it."""

import pytest

from tests.unit.web.inspector import HTML, TOKEN, FakeInspector, serving
from web.inspect import right as module
from web.inspect.right import Right

PATHS = ["", "groups/g", "search?id=x", "none", "groups/", "login"]


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_configured_token_this_machine_may_look(path: str) -> None:
    async with serving(FakeInspector()) as pages, pages.get(path) as response:
        assert response.status == {"none": 404, "groups/": 404, "login": 405}.get(path, 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.168.0.1"},
        {"Host": ""},
        {"X-Forwarded-For": "10.0.0.9"},
        {"Forwarded": "for=10.0.0.9"},
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_without_a_configured_token_only_this_machine_by_its_own_names_may_look(
    path: str, headers: dict[str, str]
) -> None:
    async with serving(FakeInspector()) as pages, pages.get(path, headers=headers) as response:
        assert response.status == 403
        assert (await response.json(content_type=None))["code"] == "forbidden"
        assert pages.inspector.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:80", "127.9.9.9", "localhost", "LOCALHOST:1", "[::1]", "[::1]:1", "::1"]
)
def test_the_names_of_this_machine(host: str) -> None:
    assert Right(None).judge(peer="127.0.0.1", headers={"Host": host}, cookie=None) is None


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.0.0.5", "::1", "::ffff:127.0.0.1"])
def test_the_peers_of_this_machine(peer: str) -> None:
    assert Right(None).judge(peer=peer, headers={"Host": "localhost"}, cookie=None) is None


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "", None])
def test_a_peer_elsewhere_is_refused_whatever_it_says_its_host_is(peer: str | None) -> None:
    denied = Right(None).judge(peer=peer, headers={"Host": "localhost"}, cookie=None)
    assert denied is not None
    assert (denied.status, denied.code) == (403, "forbidden")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", TOKEN, "Bearer \xff"]
)
async def test_with_a_configured_token_whoever_lacks_it_is_told_so_on_every_path(
    path: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization is not None else {}
    async with serving(FakeInspector(), TOKEN) as pages, pages.get(path, headers=headers) as response:
        assert response.status == 401
        assert (await response.json(content_type=None))["code"] == "unauthorized"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert "10.0.0" not in response.headers["Content-Security-Policy"]
        assert pages.inspector.asked == []


async def test_the_token_opens_the_pages_from_anywhere() -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "processor-0.example", "X-Forwarded-For": "10.0.0.9"}
    async with serving(FakeInspector(), TOKEN) as pages, pages.get(headers=headers) as response:
        assert response.status == 200


async def test_a_browser_gets_a_form_and_for_the_token_a_cookie_that_opens_the_pages() -> None:
    async with serving(FakeInspector(), TOKEN) as pages:
        async with pages.get("groups/g", headers=HTML) as response:
            assert response.status == 401
            assert 'action="/inspect/login"' in await response.text()
        async with pages.post("login", data={"token": TOKEN}, headers=HTML) as response:
            assert (response.status, response.headers["Location"]) == (303, "/inspect/")
            cookie = response.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Strict", "Path=/inspect/"} <= {part.strip() for part in cookie.split(";")}
            assert TOKEN not in cookie
        async with pages.get("groups/g", headers=HTML) as response:
            assert response.status == 200
        async with pages.post("logout", headers=HTML) as response:
            assert response.status == 303
        async with pages.get("groups/g", headers=HTML) as response:
            assert response.status == 401


@pytest.mark.parametrize("data", [{"token": "wrong"}, {"token": ""}, {}, {"other": TOKEN}])
async def test_the_form_gives_no_cookie_for_anything_else(data: dict[str, str]) -> None:
    async with serving(FakeInspector(), TOKEN) as pages:
        async with pages.post("login", data=data, headers=HTML) as response:
            assert response.status == 401
            assert "Set-Cookie" not in response.headers
            assert "10.0.0" not in response.headers["Content-Security-Policy"]
        async with pages.post("login", data=data) as response:
            assert (await response.json(content_type=None))["code"] == "unauthorized"


async def test_there_is_nothing_to_sign_in_to_where_no_token_is_configured() -> None:
    async with serving(FakeInspector()) as pages, pages.post("login", data={"token": TOKEN}) as response:
        assert response.status == 404
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c[:-1] + ("0" if c[-1] != "0" else "1"),
        lambda c: "9" + c,
        lambda c: c.partition(".")[0] + ".",
        lambda c: "",
        lambda c: "." + c.partition(".")[2],
        lambda c: "-" + c,
        lambda c: "99999999999999." + c.partition(".")[2],
        lambda c: c + "\xff",
    ],
)
def test_a_cookie_that_we_did_not_make_is_nothing(spoil: "object") -> None:
    right = Right(TOKEN)
    cookie = right.cookie()
    assert right.judge(peer=None, headers={}, cookie=cookie) is None
    assert right.judge(peer=None, headers={}, cookie=spoil(cookie)) is not None  # type: ignore[operator]
    assert Right(TOKEN + "2").judge(peer=None, headers={}, cookie=cookie) is not None


def test_a_cookie_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Right(TOKEN)
    cookie = right.cookie()
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + module.COOKIE_S + 1)
    assert right.judge(peer=None, headers={}, cookie=cookie) is not None


def test_a_wrong_header_is_not_mended_by_a_cookie() -> None:
    right = Right(TOKEN)
    assert right.judge(peer=None, headers={"Authorization": "Bearer x"}, cookie=right.cookie()) is not None
