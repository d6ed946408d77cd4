"""A reader: follows groups from their beginning, keeps a trace of what came, and cuts its own connection if asked."""

import asyncio
import random
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from auerbach_client import Backoff, Client, Event, Reset

from benchmarks.checking import Audit, Trace
from benchmarks.record import Record

# Between two cuts of a reader, so many events.
CUT_EVENTS = (50, 400)
_NEVER = float("inf")


def back_at_once() -> Backoff:
    """The waits of a reader between connections: what is shown is the resumption, not the wait."""
    return Backoff(0.02, 0.3)


class ResetSeenError(Exception):
    """The service took the reader's cursor for void, though nothing was lost."""


class Reader:
    """One user following all groups, for `async with`.

    `chance` draws the cuts, with `cut_events` events (least, most) between two; None: it never cuts. With `record`,
    `latencies_s` are from send to delivery; with `audits`, each event goes to its group's one.
    """

    def __init__(
        self,
        client: Client,
        user: str,
        groups: Sequence[str],
        *,
        record: Record | None = None,
        chance: random.Random | None = None,
        cut_events: tuple[int, int] = CUT_EVENTS,
        audits: Mapping[str, Audit] | None = None,
    ) -> None:
        self.user = user
        self.traces = {group: Trace() for group in groups}
        self.latencies_s = array("d")
        self.cuts = 0
        self._client = client
        self._record = record
        self._audits = audits
        self._draw: Callable[[], float] = (lambda: _NEVER) if chance is None else (lambda: chance.randint(*cut_events))
        self._countdown = self._draw()
        self._following: list[asyncio.Task[None]] = []
        self._seen, self._wanted = 0, _NEVER
        self._looked = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._following = [asyncio.create_task(self._follow(group)) for group in self.traces]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self._client.aclose()

    async def reach(self, heads: Mapping[str, int]) -> None:
        """Wait until as many events are here as `heads`, the groups' last seqs, say there are.

        Raises:
            AuerbachError, ResetSeenError: a run has ended before.
        """
        self._wanted = sum(heads.values())
        while self._seen < self._wanted:
            for task in self._following:
                if task.done():
                    task.result()
            self._looked.clear()
            await self._looked.wait()

    async def _follow(self, group: str) -> None:
        try:
            async with self._client.subscribe(group, after=0, state=False) as events:
                async for item in events:
                    if isinstance(item, Reset):
                        raise ResetSeenError(f"{self.user}: {group}: told to drop everything before {item.start}")
                    if not isinstance(item, Event):
                        raise ResetSeenError(f"{self.user}: {group}: events are withheld from it: {item}")
                    self._keep(item)
        finally:
            self._looked.set()

    def _keep(self, event: Event) -> None:
        self.traces[event.group].add(event.raw)
        if self._audits is not None:
            self._audits[event.group].take(event.raw)
        if self._record is not None and (sent_at := self._record.sent(event.client_msg_id)) is not None:
            self.latencies_s.append(time.monotonic() - sent_at)
        self._seen += 1
        if self._seen >= self._wanted:
            self._looked.set()
        self._countdown -= 1
        if self._countdown <= 0:
            self._countdown = self._draw()
            self.cuts += 1
            self._client.interrupt()
