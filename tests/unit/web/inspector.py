"""An inspector that says what a test gives it, and a server of its pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from app.domain.outcomes import Rejection
from app.inspection import (
    ClusterView,
    Elsewhere,
    EventView,
    Flushed,
    GroupQuery,
    GroupView,
    Membership,
    Owner,
    PartitionView,
    SearchQuery,
    SearchView,
    Served,
)
from web.inspect.routes import install

TOKEN = "operators-token-of-at-least-32-bytes"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def event(seq: int = 2, **other: object) -> EventView:
    given = {
        "seq": seq, "kind": "message.posted", "by": "olga", "at": "2026-11-25T01:20:00.123Z", "id": f"t.0.{seq}.0",
        "client_msg_id": "k", "user": None, "target": None, "command_id": "c", "offset": 9, **other,
    }  # fmt: skip
    return EventView(**given)  # type: ignore[arg-type]


def group_view(group: str = "g", **other: object) -> GroupView:
    given = {
        "group": group, "partition": 0, "worker": "processor-0", "epoch": 4, "head": 2, "seq": 2, "first": 1,
        "life": "alive", "name": "n", "topic": "", "join": "open", "history": "all", "at": "2026-11-25T01:20:00.123Z",
        "members": [Membership("olga", "owner", 1)], "members_total": 1, "next_members": None, "banned": [],
        "banned_total": 0, "keys": 1, "events": [event()], "earlier": None, **other,
    }  # fmt: skip
    return GroupView(**given)  # type: ignore[arg-type]


def search_view(id_: str = "x", **other: object) -> SearchView:
    given = {"id": id_, "group": None, "found": [], "looked": ["all of it"], "leads": [], "cursor": None, **other}
    return SearchView(**given)  # type: ignore[arg-type]


def cluster_view() -> ClusterView:
    served = Served(
        epoch=4, next_event_offset=7, decided_offset=5, decided_index=1, in_flight=3, unwritten=2, groups_in_memory=1,
        rows={"groups": 10, "history": 20}, last_flush=Flushed(age_s=0.5, rows=12, took_s=0.004),
    )  # fmt: skip
    here, there = (Owner(worker=f"processor-{n}", url=f"http://10.0.0.{n}:600{n}", epoch=4, offset=5) for n in range(2))
    return ClusterView(
        worker="processor-0",
        url=here.url,
        log="log",
        commands_topic="commands",
        partitions=[
            PartitionView(
                partition=0, owner=here, state="open", reason=None, committed=5, end=8, lag=3, oldest_unanswered_s=1.25,
                served=served,
            ),
            PartitionView(
                partition=1, owner=there, state=None, reason=None, committed=2, end=2, lag=0, oldest_unanswered_s=None,
                served=None,
            ),
            PartitionView(
                partition=2, owner=None, state="stopped", reason="beyond <the> end", committed=None, end=None, lag=None,
                oldest_unanswered_s=None, served=None,
            ),
        ],
        faults=[],
    )  # fmt: skip


@dataclass
class FakeInspector:
    """Answers with what it is given, and remembers the questions."""

    cluster_view: ClusterView = field(default_factory=cluster_view)
    group_view: GroupView | Elsewhere | Rejection = field(default_factory=group_view)
    search_view: SearchView | Elsewhere | Rejection = field(default_factory=search_view)
    asked: list[GroupQuery | SearchQuery | None] = field(default_factory=list)

    async def cluster(self) -> ClusterView:
        self.asked.append(None)
        return self.cluster_view

    async def group(self, query: GroupQuery) -> GroupView | Elsewhere | Rejection:
        self.asked.append(query)
        return self.group_view

    async def search(self, query: SearchQuery) -> SearchView | Elsewhere | Rejection:
        self.asked.append(query)
        return self.search_view

    def urls(self) -> set[str]:
        return {"http://10.0.0.1:6001"}


@dataclass
class Pages:
    """A server of the pages, and a client of it that follows no redirect."""

    inspector: FakeInspector
    url: str
    http: aiohttp.ClientSession

    def get(self, path: str = "", **options: object) -> "aiohttp.client._RequestContextManager":
        return self.http.get(f"{self.url}/inspect/{path}", allow_redirects=False, **options)  # type: ignore[arg-type]

    def post(self, path: str, **options: object) -> "aiohttp.client._RequestContextManager":
        return self.http.post(f"{self.url}/inspect/{path}", allow_redirects=False, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(inspector: FakeInspector, token: str | None = None) -> AsyncIterator[Pages]:
    """The pages of `inspector` on a free port."""
    application = web.Application()
    install(application, inspector, token)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Pages(inspector, f"http://127.0.0.1:{port}", http)
    finally:
        await runner.cleanup()
