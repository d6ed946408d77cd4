"""Who is offline in a group, as its owner says: asked in batches, held for a second, and given up on after a few."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple

import aiohttp
import msgspec

from app.kafka import consumer as kafka
from app.kafka.partition import partition_for
from app.kafka.topics import Layout
from app.reads import READS_PATH, Answer, Audience, OwnerRecord, ReadAudience, decode_answers, encode_reads
from app.telemetry import logger
from bridges.outbound import metrics
from bridges.outbound.positions import current_owners

# One look-up serves all messages of the group that come within this time.
HELD_S = 1.0
# Then the push is sent all the same: a push too many is better than none.
ASK_S = 3.0
CALL_S = 2.0
PAUSE_S = 0.2
BATCH_READS = 100
CALLS = 4
# Groups that are remembered, and that wait to be asked about (design I7).
GROUPS = 10_000

_log = logger("bridge")

Owners = Callable[[], Awaitable[dict[int, OwnerRecord]]]


class Unknown(NamedTuple):
    """The owner did not say; `name` is the group's name as it was last known, empty if it never was."""

    name: str


Found = Audience | Unknown | None


class _Held(NamedTuple):
    found: Found
    until: float


class Audiences:
    """The audiences of groups. None: there is no such group any more."""

    def __init__(
        self, bootstrap: str, layout: Layout, session: aiohttp.ClientSession, owners: Owners | None = None
    ) -> None:
        """`owners` reads the owners of the partitions anew."""
        self._partitions = layout.partitions
        self._session = session
        self._read_owners = owners or (lambda: asyncio.to_thread(_owners_of, bootstrap, layout))
        self._owners: dict[int, OwnerRecord] = {}
        self._owners_at = -HELD_S
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Found]] = {}
        self._waiting: deque[tuple[str, float]] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    def of(self, group: str) -> "asyncio.Future[Found] | Found":
        """Who is offline there now, or a future of it. It never fails, and is done within some `ASK_S`."""
        held = self._held.get(group)
        if held is not None and monotonic() < held.until:
            return held.found
        asked = self._asked.get(group)
        if asked is not None:
            return asked
        if len(self._asked) >= GROUPS:
            return self._unknown(group)
        asked = self._asked[group] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, monotonic() + ASK_S))
        if len(self._calls) < CALLS:
            call = asyncio.create_task(self._ask_until_empty())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return asked

    async def close(self) -> None:
        """End the calls under way; what they were asked stays unanswered."""
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _ask_until_empty(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_READS, len(self._waiting)))]
            left = [group for group, until in batch if until <= monotonic()]
            by_owner: dict[str, list[tuple[str, float]]] = {}
            for group, until in batch:
                if until > monotonic():
                    owner = self._owners.get(partition_for(group.encode(), self._partitions))
                    by_owner.setdefault(owner.url if owner is not None else "", []).append((group, until))
            for group in left:
                self._settle(group, self._unknown(group), "timeout")
            again = await asyncio.gather(*(self._ask(url, asked) for url, asked in by_owner.items()))
            unanswered = [each for some in again for each in some]
            if unanswered:
                await self._find_owners()
                self._waiting.extend(unanswered)

    async def _ask(self, url: str, asked: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Ask one owner; those that it did not answer."""
        if not url:
            return asked
        within_s = min(CALL_S, max(until for _, until in asked) - monotonic())
        try:
            async with asyncio.timeout(within_s):
                answers = await self._call(url, [group for group, _ in asked])
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError, ValueError) as failed:
            metrics.AUDIENCES.labels("failed").inc()
            _log.warning("an owner did not say who is offline", url=url, error=repr(failed), groups=len(asked))
            return asked
        unanswered = []
        for (group, until), answer in zip(asked, answers, strict=True):
            if answer.missing is not None:
                unanswered.append((group, until))
            else:
                self._settle(group, answer.audience, "answered")
        return unanswered

    async def _call(self, url: str, groups: list[str]) -> list[Answer]:
        body = encode_reads([ReadAudience(group=group, user=None, end=0) for group in groups])
        async with self._session.post(url + READS_PATH, data=body) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            answers = decode_answers(await response.read())
        if len(answers) != len(groups):
            raise ValueError(f"{len(answers)} answers to {len(groups)} reads")
        return answers

    async def _find_owners(self) -> None:
        """Read who owns what, not more often than a few times a second."""
        await asyncio.sleep(PAUSE_S)
        if monotonic() - self._owners_at < PAUSE_S:
            return
        self._owners_at = monotonic()
        try:
            async with asyncio.timeout(ASK_S):
                self._owners = await self._read_owners()
        except (kafka.ReadError, TimeoutError) as failed:
            _log.warning("the owners cannot be read", error=str(failed))

    def _settle(self, group: str, found: Found, result: str) -> None:
        metrics.AUDIENCES.labels(result).inc()
        self._held[group] = _Held(found, monotonic() + HELD_S)
        self._held.move_to_end(group)
        while len(self._held) > GROUPS:
            self._held.popitem(last=False)
        asked = self._asked.pop(group, None)
        if asked is not None and not asked.done():
            asked.set_result(found)

    def _unknown(self, group: str) -> Unknown:
        held = self._held.get(group)
        return Unknown(held.found.name if held is not None and held.found is not None else "")


def _owners_of(bootstrap: str, layout: Layout) -> dict[int, OwnerRecord]:
    with kafka.reader(bootstrap) as consumer:
        return current_owners(consumer, layout)
