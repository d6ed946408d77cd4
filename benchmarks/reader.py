"""A reader: follows groups from their beginning, keeps the raw frames, and cuts its own connection now and then."""

import asyncio
import random
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Self

from auerbach_client import Backoff, Client, Event, Reset

from app import config
from app.cli.token import credentials
from benchmarks.record import Record

# Between two cuts of a reader, so many events.
_CUT_EVENTS = (50, 400)
# Back at once: what is shown is the resumption, not the wait.
_BACK_S = (0.02, 0.3)


class ResetSeenError(Exception):
    """The service took the reader's cursor for void, though nothing was lost."""


class Reader:
    """One user following all groups, for `async with`. `chance` draws the cuts; None: it never cuts."""

    def __init__(
        self, user: str, urls: Sequence[str], groups: Sequence[str], chance: random.Random | None, record: Record | None
    ) -> None:
        self.user = user
        self.frames: dict[str, list[bytes]] = {group: [] for group in groups}
        self.latencies_s = array("d")
        self.cuts = 0
        self._chance = chance
        self._record = record
        self._countdown = self._draw()
        back = Backoff(*_BACK_S, chance or random.Random())
        self._client = Client(urls, **credentials(config.load(), user), reconnect=back, connect_timeout_s=10)
        self._following: list[asyncio.Task[None]] = []
        self._progress = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._following = [asyncio.create_task(self._follow(group)) for group in self.frames]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._client.aclose()

    async def reach(self, heads: Mapping[str, int]) -> None:
        """Wait until each group's event `heads[group]` is here.

        Raises:
            AuerbachError, ResetSeenError: a run has ended before.
        """
        async with self._progress:
            while any(len(self.frames[group]) < head for group, head in heads.items()):
                for task in self._following:
                    if task.done():
                        task.result()
                await self._progress.wait()

    async def _follow(self, group: str) -> None:
        try:
            async with self._client.subscribe(group, after=0, state=False) as events:
                async for item in events:
                    if isinstance(item, Reset):
                        raise ResetSeenError(f"{self.user}: {group}: told to drop everything before {item.start}")
                    self._keep(item)
                    async with self._progress:
                        self._progress.notify_all()
        finally:
            async with self._progress:
                self._progress.notify_all()

    def _keep(self, event: Event) -> None:
        self.frames[event.group].append(event.raw)
        if self._record is not None and event.client_msg_id is not None:
            sent_at = self._record.sent_at.get((event.group, event.by or "", event.client_msg_id))
            if sent_at is not None:
                self.latencies_s.append(time.monotonic() - sent_at)
        self._countdown -= 1
        if self._countdown <= 0:
            self._countdown = self._draw()
            self.cuts += 1
            self._client.interrupt()

    def _draw(self) -> float:
        return self._chance.randint(*_CUT_EVENTS) if self._chance is not None else float("inf")
