"""Reads: questions to the owners of groups, fenced and retried until their deadline (design §5, I9)."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import msgspec

from app.kafka.partition import partition_for
from app.owners import Owners
from app.reads import READS_PATH, Answer, AnyRead, decode_answers, encode_reads
from web import metrics
from web.end_offsets import EndOffsets, EndUnknownError

BATCH_READS = 32
CALLS_PER_OWNER = 4
QUEUED_PER_OWNER = 10_000
# An owner that is silent for longer may be stopped: ask again, maybe another one.
CALL_S = 6.0
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0


class UnavailableError(Exception):
    """No owner gave an answer that may be used before the deadline."""


class SilentError(UnavailableError):
    """As above, and the owner that is known was asked and kept silent: it may be stopped, or slow."""


class OwnerCallError(Exception):
    """One call to an owner failed."""


class OwnerSilentError(OwnerCallError):
    """One call to an owner ended without any answer."""


class ReadPort(Protocol):
    """How sockets ask; `Reads` is the real one."""

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """The answer to `make(end)`; raises UnavailableError, or SilentError, at `deadline` (the loop's time)."""


class OwnerPort(Protocol):
    """One read asked of the owner at a URL; `OwnerCalls` is the real one."""

    async def ask(self, url: str, read: AnyRead) -> Answer:
        """The answer, whatever it says; raises OwnerCallError."""


class Reads:
    """Asks the owner of the group's partition, and uses only answers that cover what was acknowledged anywhere."""

    def __init__(
        self, owners: Owners, ends: EndOffsets, calls: OwnerPort, *, partitions: int, epoch: Callable[[int], int]
    ) -> None:
        """`epoch` gives the highest claim that this gateway has read in a partition."""
        self._owners = owners
        self._ends = ends
        self._calls = calls
        self._partitions = partitions
        self._epoch = epoch

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """The answer to `make(end)`, `end` being the partition's end offset after this call.

        Raises:
            SilentError: there was none by `deadline` (the loop's time), and nothing else was wrong.
            UnavailableError: there was none by `deadline`, because no owner is known or can be reached, or none can
                answer yet.
        """
        partition = partition_for(group.encode(), self._partitions)
        progress = _Progress()
        try:
            async with asyncio.timeout_at(deadline):
                return await self._ask(partition, make, progress)
        except TimeoutError:
            metrics.OWNER_READS.labels("unavailable").inc()
            silent = progress.silent and self._owners.get(partition) is not None
            raise (SilentError if silent else UnavailableError)(group) from None

    async def _ask(self, partition: int, make: Callable[[int], AnyRead], progress: "_Progress") -> Answer:
        end: int | None = None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if end is None:
                    end = await self._ends.after_now(partition)
                answer = await self._try(partition, make(end))
                if self._usable(partition, answer, end):
                    metrics.OWNER_READS.labels("answered").inc()
                    return answer
                metrics.OWNER_READS.labels(answer.missing or "stale").inc()
                progress.silent = False
            except (EndUnknownError, OwnerCallError) as failed:
                metrics.OWNER_READS.labels("failed").inc()
                progress.silent = isinstance(failed, OwnerSilentError)
            await self._owners.change(partition, pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _try(self, partition: int, read: AnyRead) -> Answer:
        owner = self._owners.get(partition)
        if owner is None:
            return Answer(missing="not_owner")
        # A stopped owner answers nobody; when another one appears there is no point in waiting for it.
        asked = asyncio.ensure_future(self._calls.ask(owner.url, read))
        moved = asyncio.ensure_future(self._owners.change(partition, CALL_S))
        try:
            await asyncio.wait({asked, moved}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            now = self._owners.get(partition)
            moved_on = now is not None and now.epoch > owner.epoch
            raise (OwnerCallError if moved_on else OwnerSilentError)(owner.url)
        finally:
            asked.cancel()
            moved.cancel()

    def _usable(self, partition: int, answer: Answer, end: int) -> bool:
        owner = self._owners.get(partition)
        highest = max(self._epoch(partition), owner.epoch if owner is not None else -1)
        return answer.missing is None and answer.epoch >= highest and answer.offset >= end


@dataclass(slots=True)
class _Progress:
    """Whether nothing is known to be wrong but that no answer has come."""

    silent: bool = True


@dataclass(slots=True)
class _Queue:
    waiting: deque[tuple[AnyRead, asyncio.Future[Answer]]]
    calls: set[asyncio.Task[None]]


class OwnerCalls:
    """HTTP to owners: reads that wait for the same owner travel in one call."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._queues: dict[str, _Queue] = {}

    async def ask(self, url: str, read: AnyRead) -> Answer:
        """The owner's answer.

        Raises:
            OwnerSilentError: it did not answer in time.
            OwnerCallError: it cannot be reached, or what came is no answer.
        """
        queue = self._queues.setdefault(url, _Queue(deque(), set()))
        if len(queue.waiting) >= QUEUED_PER_OWNER:
            raise OwnerCallError(f"{url}: too many reads wait")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        queue.waiting.append((read, answered))
        if len(queue.calls) < CALLS_PER_OWNER:
            call = asyncio.create_task(self._call_until_empty(url, queue))
            queue.calls.add(call)
        return await answered

    async def close(self) -> None:
        """End the calls under way."""
        calls = [call for queue in self._queues.values() for call in queue.calls]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _call_until_empty(self, url: str, queue: _Queue) -> None:
        try:
            while queue.waiting:
                batch = [queue.waiting.popleft() for _ in range(min(BATCH_READS, len(queue.waiting)))]
                batch = [(read, answered) for read, answered in batch if not answered.done()]
                if batch:
                    await self._call(url, batch)
        finally:
            task = asyncio.current_task()
            assert task is not None
            queue.calls.discard(task)
            if not queue.calls and not queue.waiting:
                self._queues.pop(url, None)

    async def _call(self, url: str, batch: list[tuple[AnyRead, asyncio.Future[Answer]]]) -> None:
        try:
            async with asyncio.timeout(CALL_S):
                body = encode_reads([read for read, _ in batch])
                async with self._session.post(url + READS_PATH, data=body) as response:
                    if response.status != 200:
                        raise OwnerCallError(f"{url}: HTTP {response.status}")
                    answers = decode_answers(await response.read())
            if len(answers) != len(batch):
                raise OwnerCallError(f"{url}: {len(answers)} answers to {len(batch)} reads")
        except (OwnerCallError, aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError, ValueError) as failed:
            error = OwnerSilentError if isinstance(failed, TimeoutError) else OwnerCallError
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error(f"{url}: {failed}"))
            return
        for (_, answered), answer in zip(batch, answers, strict=True):
            if not answered.done():
                answered.set_result(answer)
