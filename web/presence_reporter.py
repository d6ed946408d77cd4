"""Tells the owners of groups who is online here, and that this gateway lives (design §5, docs/adr/025)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

import aiohttp
import msgspec

from app.kafka.partition import partition_for
from app.owners import Owners
from app.presence import BODY_CHANGES, PRESENCE_PATH, Report, Reports, decode_words, encode_reports
from app.telemetry import logger
from web import metrics
from web.presence_ways import Home, Way

GATHER_S = 0.005
CALL_S = 3.0
FAREWELL_S = 0.5
IDLE_S = 60.0

# (owner's URL, body) → the response's body. Raises aiohttp.ClientError or OSError.
Post = Callable[[str, bytes], Awaitable[bytes]]

_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError, ValueError)
_log = logger("web")


class RefusedError(OSError):
    """An owner answered with another status than 200."""


def posting(session: aiohttp.ClientSession) -> Post:
    """Over HTTP."""

    async def post(url: str, body: bytes) -> bytes:
        async with session.post(url + PRESENCE_PATH, data=body) as response:
            if response.status != 200:
                raise RefusedError(f"{url}: HTTP {response.status}")
            return await response.read()

    return post


class Reporter:
    """One body at a time to each owner, for all of its partitions; what fails is told again, as it is by then."""

    def __init__(self, owners: Owners, post: Post, *, gateway: str, partitions: int) -> None:
        """`gateway` names this process."""
        self._owners = owners
        self._post = post
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._ways = [Way(partition) for partition in range(partitions)]
        self._wake = asyncio.Event()
        self._lines: dict[str, asyncio.Task[None]] = {}

    def is_here(self, group: str, user: str) -> bool:
        """Whether a user is online here."""
        return (group, user) in self._way(group).here

    def enter(self, group: str, user: str, channel: str | None) -> None:
        """A user is online here from now on, or has opened `channel`."""
        way = self._way(group)
        way.here[group, user] = channel
        self._change(way, group, user)

    def leave(self, group: str, user: str) -> None:
        """A user is not online here any more."""
        way = self._way(group)
        del way.here[group, user]
        self._change(way, group, user)

    def on_owner(self, partition: int) -> None:
        """A partition's owner has changed."""
        self._look_up(self._ways[partition])
        self._wake.set()

    async def heard(self, group: str) -> None:
        """Wait until the group's owner has heard all that is to be told now."""
        asked = self._way(group).ask()
        if asked is not None:
            await asked

    async def run(self) -> None:
        """Report until cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._next_at()):
                        await self._wake.wait()
                if self._wake.is_set():
                    self._wake.clear()
                    await asyncio.sleep(GATHER_S)  # what comes together leaves together
                self._begin_lines()
        finally:
            lines = list(self._lines.values())
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)

    async def close(self) -> None:
        """Tell every owner that nobody is here any more, as far as that can be done at once."""
        farewells: dict[str, list[Report]] = {}
        for way in self._ways:
            if way.home is not None and (way.here or not way.settled or way.heard):
                farewells.setdefault(way.home.url, []).append(way.farewell())
        await asyncio.gather(*(self._say_farewell(url, reports) for url, reports in farewells.items()))

    async def _say_farewell(self, url: str, reports: list[Report]) -> None:
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(FAREWELL_S):
                await self._post(url, encode_reports(Reports(self._gateway, reports)))

    def _way(self, group: str) -> Way:
        return self._ways[partition_for(group.encode(), len(self._ways))]

    def _change(self, way: Way, group: str, user: str) -> None:
        way.change((group, user))
        if way.home is None:
            self._look_up(way)
        self._wake.set()

    def _look_up(self, way: Way) -> None:
        owner = self._owners.get(way.partition)
        if owner is not None:
            way.move(Home(owner.url, owner.epoch))

    def _next_at(self) -> float:
        now = self._loop.time()
        # A line looks by itself for what comes due while it is at work.
        waiting = (way.due_at() for way in self._ways if way.home is not None and way.home.url not in self._lines)
        return min(min(waiting, default=now + IDLE_S), now + IDLE_S)

    def _begin_lines(self) -> None:
        now = self._loop.time()
        for url in {way.home.url for way in self._due(now) if way.home is not None} - self._lines.keys():
            line = self._lines[url] = self._loop.create_task(self._line(url))
            line.add_done_callback(lambda ended, url=url: self._on_line_end(url, ended))  # type: ignore[misc]

    def _on_line_end(self, url: str, ended: asyncio.Task[None]) -> None:
        del self._lines[url]
        self._wake.set()
        if not ended.cancelled() and (bug := ended.exception()) is not None:
            metrics.ERRORS.labels("presence").inc()
            _log.error("presence could not be reported; the fault is ours", why=repr(bug))

    def _due(self, now: float) -> Iterable[Way]:
        return [way for way in self._ways if way.due_at() <= now]

    async def _line(self, url: str) -> None:
        """Report to one owner until nothing is due."""
        while due := [way for way in self._due(self._loop.time()) if way.home is not None and way.home.url == url]:
            now = self._loop.time()
            room = BODY_CHANGES
            sent: list[tuple[Way, Report]] = []
            for way in due:
                if room > 0:
                    report = way.next_report(room, now)
                    room -= len(report.changes)
                    sent.append((way, report))
            try:
                async with asyncio.timeout(CALL_S):
                    body = await self._post(url, encode_reports(Reports(self._gateway, [each for _, each in sent])))
                words = decode_words(body)
                if len(words) != len(sent):
                    raise RefusedError(f"{url}: {len(words)} words to {len(sent)} reports")
            except _FAILURES:
                metrics.PRESENCE_REPORTS.labels("failed").inc(len(sent))
                now = self._loop.time()
                for way, report in sent:
                    way.on_failure(report, now)
                continue
            now = self._loop.time()
            for (way, report), word in zip(sent, words, strict=True):
                metrics.PRESENCE_REPORTS.labels(word).inc()
                way.on_word(report, word, now)
