"""The operators' pages: what is shown, that nothing a user chose is markup, and what a browser may do with them."""

import re
from urllib.parse import quote

import msgspec
import pytest

from app.domain.outcomes import Rejection
from app.inspection import (
    ClusterView,
    Elsewhere,
    Found,
    GroupQuery,
    GroupView,
    Lead,
    Membership,
    SearchQuery,
    SearchView,
)
from tests.unit.web.inspector import HTML, TOKEN, FakeInspector, event, group_view, search_view, serving

EVIL = "<script>alert(1)</script>\"'&"
IDS = ["g", "a/b", "a?b#c", "50%", "%2F", "a b+c", "zoë", "<b>", "..a", "{x}", "a\\b", "☃", "'\""]


@pytest.mark.parametrize(("path", "view"), [("", ClusterView), ("groups/g", GroupView), ("search?id=x", SearchView)])
async def test_each_page_is_json_of_its_view_unless_a_browser_asks(path: str, view: type[msgspec.Struct]) -> None:
    async with serving(FakeInspector()) as pages:
        async with pages.get(path) as response:
            assert response.content_type == "application/json"
            json = msgspec.json.decode(await response.read(), type=view)
        said = {"": "cluster_view", "groups/g": "group_view", "search?id=x": "search_view"}[path]
        assert json == getattr(pages.inspector, said)
        async with pages.get(path, headers=HTML) as response:
            assert response.content_type == "text/html"
        both = path + ("&" if "?" in path else "?")
        async with pages.get(both + "format=json", headers=HTML) as response:
            assert response.content_type == "application/json"
        async with pages.get(both + "format=html") as response:
            assert response.content_type == "text/html"


async def test_the_partitions_page_says_all_of_an_open_partition_and_leads_to_the_others() -> None:
    async with serving(FakeInspector()) as pages, pages.get(headers=HTML) as response:
        text = await response.text()
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)][1:]
    shown = [[re.sub("<.*?>", "", cell) for cell in row] for row in rows]
    assert shown[0] == [
        "0", "open", "processor-0", "4", "7", "5", "5.1", "8", "3", "1.2 s", "3", "2", "1", "groups 10, history 20",
        "0.5 s ago, 12 rows in 4 ms",
    ]  # fmt: skip
    assert shown[1][:5] == ["1", "-", "processor-1", "4", "-"]
    assert '<a href="http://10.0.0.1:6001/inspect/">processor-1</a>' in text
    assert shown[2][1] == "stopped: beyond &lt;the&gt; end"


async def test_what_cannot_be_asked_is_said() -> None:
    inspector = FakeInspector()
    inspector.cluster_view = msgspec.structs.replace(inspector.cluster_view, faults=["the broker is <away>"])
    async with serving(inspector) as pages, pages.get(headers=HTML) as response:
        assert "the broker is &lt;away&gt;" in await response.text()


async def test_nothing_that_a_user_chose_is_markup() -> None:
    evil = event(by=EVIL, client_msg_id=EVIL, user=EVIL, command_id=EVIL, id=EVIL, kind=EVIL)
    inspector = FakeInspector(
        group_view=group_view(
            EVIL, name=EVIL, topic=EVIL, members=[Membership(EVIL, "owner", 1)], banned=[EVIL], banned_total=1,
            events=[evil],
        ),
        search_view=search_view(
            EVIL,
            group=EVIL,
            found=[
                Found(what="group", partition=0, group=EVIL),
                Found(what="member", partition=0, group=EVIL, role="owner", joined=1),
                Found(what="event", partition=0, group=EVIL, event=evil),
                Found(what="command", partition=0, group=EVIL, note=EVIL),
            ],
            looked=[EVIL],
            leads=[Lead(what=EVIL, worker=EVIL, url=f"javascript:{EVIL}")],
            cursor=EVIL,
        ),
    )  # fmt: skip
    async with serving(inspector) as pages:
        for path in (f"groups/{quote(EVIL, safe='')}", "search?id=x"):
            async with pages.get(path, headers=HTML) as response:
                text = await response.text()
            assert "&lt;script&gt;" in text
            assert "<script" not in text
            assert 'href="javascript' not in text
            # Outside of what we wrote, no quotation mark that would end an attribute.
            assert not re.search(r'="[^"]*"[^\s>/]', text)


@pytest.mark.parametrize("group", IDS)
async def test_a_group_is_found_by_its_path_whatever_its_id_is(group: str) -> None:
    async with serving(FakeInspector(group_view=group_view(group))) as pages:
        async with pages.get(f"groups/{quote(group, safe='')}?at_seq=2", headers=HTML) as response:
            assert response.status == 200
            text = await response.text()
        assert pages.inspector.asked == [GroupQuery(group=group, at_seq=2)]
        (action,) = re.findall(r'<form action="(/inspect/groups/[^"]*)"', text)
        assert action == f"/inspect/groups/{quote(group, safe='')}"


async def test_a_group_then_is_said_to_be_then_and_leads_to_now_and_to_earlier() -> None:
    view = group_view(head=90, seq=60, earlier=10, next_members=200, members_total=300)
    async with (
        serving(FakeInspector(group_view=view)) as pages,
        pages.get("groups/g?at_seq=60", headers=HTML) as response,
    ):
        text = await response.text()
    assert "60 of 90" in text
    for href in ("/inspect/groups/g", "/inspect/groups/g?at_seq=10", "/inspect/groups/g?members=200&amp;at_seq=60"):
        assert f'href="{href}"' in text


@pytest.mark.parametrize("path", ["", "groups/g", "search?id=x", "none"])
async def test_a_page_runs_nothing_loads_nothing_and_is_not_kept(path: str) -> None:
    async with serving(FakeInspector()) as pages, pages.get(path, headers=HTML) as response:
        text = await response.text()
        policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == "'self' http://10.0.0.1:6001"
        assert "unsafe" not in policy["style-src"]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "<script" not in text
        assert not re.search(r'(src|href)="(?!/inspect/|http://10\.0\.0\.)', text)


async def test_what_another_worker_owns_is_there_with_the_same_path_and_query() -> None:
    inspector = FakeInspector(
        group_view=Elsewhere("http://10.0.0.1:6001"), search_view=Elsewhere("http://10.0.0.1:6001")
    )
    async with serving(inspector) as pages:
        for path in ("groups/a%2Fb?at_seq=3&format=html", "search?id=a%26b&group=%C3%A9"):
            async with pages.get(path) as response:
                assert response.status == 307
                assert response.headers["Location"] == f"http://10.0.0.1:6001/inspect/{path}"
                assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Rejection("no_such_group", "no <such> group"), 404),
        (Rejection("invalid", "at_seq: beyond", field="at_seq"), 400),
        (Rejection("unavailable", "it opens", temporary=True), 503),
        (Rejection("timeout", "too late", temporary=True), 504),
    ],
)
async def test_a_refusal_has_its_status_and_code(refusal: Rejection, status: int) -> None:
    async with serving(FakeInspector(group_view=refusal)) as pages:
        async with pages.get("groups/g") as response:
            assert response.status == status
            assert response.content_type == "application/problem+json"
            said = await response.json(content_type=None)
            assert said == {"status": status, "code": refusal.code, "detail": refusal.message}
            assert ("Retry-After" in response.headers) == refusal.temporary
        async with pages.get("groups/g", headers=HTML) as response:
            assert response.status == status
            assert refusal.message.replace("<", "&lt;").replace(">", "&gt;") in await response.text()


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("groups/g?at_seq=0", "at_seq"),
        ("groups/g?at_seq=-1", "at_seq"),
        ("groups/g?at_seq=x", "at_seq"),
        ("groups/g?at_seq=9007199254740992", "at_seq"),
        ("groups/g?at_seq=%D9%A3", "at_seq"),
        ("groups/g?members=-1", "members"),
        ("groups/%00", "group"),
        (f"groups/{'g' * 129}", "group"),
        ("search", "id"),
        ("search?id=", "id"),
        (f"search?id={'g' * 257}", "id"),
        ("search?id=x&group=%0A", "group"),
        (f"search?id=x&cursor={'c' * 513}", "cursor"),
    ],
)
async def test_a_query_out_of_bounds_is_refused_by_its_field(path: str, field: str) -> None:
    async with serving(FakeInspector()) as pages, pages.get(path) as response:
        assert response.status == 400
        said = await response.json(content_type=None)
        assert said["code"] == "invalid"
        assert said["detail"].startswith(f"{field}: ")
        assert pages.inspector.asked == []


async def test_a_search_is_asked_as_it_was_typed() -> None:
    async with serving(FakeInspector()) as pages:
        async with pages.get("search?id=a+b%2B&group=&cursor=0.g") as response:
            assert response.status == 200
        assert pages.inspector.asked == [SearchQuery(id="a b+", cursor="0.g")]


async def test_the_pages_are_only_read() -> None:
    async with serving(FakeInspector()) as pages, pages.post("groups/g") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_body_over_the_bound_is_refused() -> None:
    async with serving(FakeInspector(), TOKEN) as pages, pages.post("login", data={"token": "x" * 5_000}) as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["code"] == "too_large"


async def test_a_page_that_fails_says_nothing_of_why(monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = FakeInspector()

    async def bug() -> ClusterView:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(inspector, "cluster", bug)
    async with serving(inspector) as pages, pages.get() as response:
        assert response.status == 500
        assert response.headers["Cache-Control"] == "no-store"
        assert "secret" not in await response.text()
