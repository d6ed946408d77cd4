"""Reads are fenced, retried, and batched for each owner."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.kafka.partition import partition_for
from app.owners import Owners
from app.reads import Answer, AnyRead, OwnerRecord, ReadState, decode_reads, encode_answers
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from web.end_offsets import EndOffsets, EndUnknownError
from web.reads_client import OwnerCallError, OwnerCalls, OwnerSilentError, Reads, SilentError, UnavailableError

P = partition_for(b"g", 4)
WITHIN_S = 30
DEADLINE_S = 300  # of a read


def owner(url: str, epoch: int) -> OwnerRecord:
    return OwnerRecord(url=url, epoch=epoch, offset=0, worker="w", log="log")


class Rig:
    """Reads with scripted owners: each URL answers the next of its answers, the last one for ever."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, AnyRead]] = []
        self.end = 10
        self.ends_fail = 0
        self.lookups = 0
        self.epoch = 3
        self.owners = Owners(4, "log")
        self.owners.learn(P, owner("a", 3))
        ends = EndOffsets(self._ends)
        self.reads = Reads(self.owners, ends, self, partitions=4, epoch=lambda _: self.epoch)

    async def _ends(self, partitions: set[int]) -> dict[int, int]:
        self.lookups += 1
        if self.ends_fail:
            self.ends_fail -= 1
            return {}
        return dict.fromkeys(partitions, self.end)

    async def ask(self, url: str, read: AnyRead) -> Answer:
        self.asked.append((url, read))
        script = self.answers[url]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        assert isinstance(answer, Answer)
        return answer

    async def read(self) -> Answer:
        def make(end: int) -> AnyRead:
            return ReadState(group="g", user="alice", end=end)

        return await self.reads.ask("g", make, asyncio.get_running_loop().time() + DEADLINE_S)

    async def fail(self, clock: LoopClock, when: Callable[[], bool]) -> UnavailableError:
        """What a read fails with whose deadline comes as soon as `when` says so."""
        reading = asyncio.create_task(self.read())
        await until(when)
        await clock.put_forward(DEADLINE_S)
        with pytest.raises(UnavailableError) as raised:
            await reading
        return raised.value


GOOD = Answer(epoch=3, offset=10, seq=1)


async def test_an_answer_that_covers_the_end_is_used() -> None:
    rig = Rig(a=[GOOD])
    assert await rig.read() == GOOD
    assert [read.end for _, read in rig.asked] == [10]


@pytest.mark.parametrize(
    "unusable",
    [
        Answer(missing="not_owner"),
        Answer(missing="loading"),
        Answer(missing="behind"),
        Answer(epoch=2, offset=10),  # an owner before the highest claim
        Answer(epoch=3, offset=9),  # it does not cover what was there when the request came
        OwnerCallError("refused"),
    ],
)
async def test_any_other_answer_is_asked_for_again(unusable: Any) -> None:
    rig = Rig(a=[unusable, unusable, GOOD])
    assert await rig.read() == GOOD
    assert len(rig.asked) == 3


async def test_a_refusal_is_fenced_like_any_answer() -> None:
    stale = Answer(epoch=2, offset=10)
    rig = Rig(a=[stale, GOOD])
    assert (await rig.read()).epoch == 3


async def test_an_end_that_is_not_told_is_looked_up_again() -> None:
    rig = Rig(a=[GOOD])
    rig.ends_fail = 1
    assert await rig.read() == GOOD
    assert rig.lookups == 2


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    return LoopClock(monkeypatch)


async def test_without_a_usable_answer_the_read_is_unavailable_at_its_deadline(clock: LoopClock) -> None:
    rig = Rig(a=[Answer(missing="loading")])
    await rig.fail(clock, lambda: len(rig.asked) > 1)


@pytest.mark.parametrize("wrong", [OwnerCallError("refused"), Answer(missing="not_owner"), Answer(missing="loading")])
async def test_an_owner_that_says_why_not_is_told_from_one_that_keeps_silent(clock: LoopClock, wrong: Any) -> None:
    for script, asked, error in (
        ([wrong], 2, UnavailableError),
        ([OwnerSilentError("a"), wrong], 3, UnavailableError),
        ([wrong, OwnerSilentError("a")], 3, SilentError),
        ([None], 1, SilentError),
    ):
        rig = Rig(a=script)
        # Who asks once more has taken in the answer before it.
        failure = await rig.fail(clock, lambda rig=rig, asked=asked: len(rig.asked) >= asked)  # type: ignore[misc]
        assert type(failure) is error


async def test_where_no_owner_or_no_end_is_known_nobody_keeps_silent(clock: LoopClock) -> None:
    ownerless, endless = Rig(), Rig(a=[None])
    ownerless.owners = ownerless.reads._owners = Owners(4, "log")
    endless.ends_fail = 10**6
    assert type(await ownerless.fail(clock, lambda: ownerless.lookups == 1)) is UnavailableError
    assert type(await endless.fail(clock, lambda: endless.lookups > 1)) is UnavailableError


async def test_a_new_owner_is_asked_at_once_though_the_old_one_is_silent() -> None:
    rig = Rig(a=[None], b=[Answer(epoch=7, offset=11)])
    reading = asyncio.create_task(rig.read())
    await until(lambda: rig.asked)
    rig.owners.learn(P, owner("b", 7))
    async with asyncio.timeout(WITHIN_S):  # a silent one is given up by far later
        assert (await reading).epoch == 7


async def test_one_look_up_serves_all_that_came_before_it_and_none_that_came_after() -> None:
    gate = asyncio.Event()
    rounds: list[set[int]] = []

    async def lookup(partitions: set[int]) -> dict[int, int]:
        rounds.append(partitions)
        await gate.wait()
        return dict.fromkeys(partitions, len(rounds))

    ends = EndOffsets(lookup)
    first = [asyncio.create_task(ends.after_now(p)) for p in (1, 1, 2)]
    async with asyncio.timeout(WITHIN_S):
        await until(lambda: rounds)
        late = asyncio.create_task(ends.after_now(1))
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*first) == [1, 1, 1]
        assert await late == 2
    assert rounds == [{1, 2}, {1}]
    await ends.close()


async def test_a_look_up_that_fails_is_told_to_who_waits_and_the_next_one_is_made() -> None:
    failures = [RuntimeError("the client is at its end")]

    async def lookup(partitions: set[int]) -> dict[int, int]:
        if failures:
            raise failures.pop()
        return dict.fromkeys(partitions, 7)

    ends = EndOffsets(lookup)
    with pytest.raises(EndUnknownError):
        await ends.after_now(1)
    assert await ends.after_now(1) == 7


async def test_the_end_waits_for_no_look_up() -> None:
    asked = asyncio.Event()

    async def lookup(_partitions: set[int]) -> dict[int, int]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    ends = EndOffsets(lookup)
    waiting = asyncio.create_task(ends.after_now(1))
    await asyncio.wait_for(asked.wait(), WITHIN_S)
    await asyncio.wait_for(ends.close(), WITHIN_S)
    waiting.cancel()


class Server:
    """An owner's view: `say` makes the response."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.say: Callable[[list[AnyRead]], web.Response] = self.echo
        self.url = ""

    @staticmethod
    def echo(reads: list[AnyRead]) -> web.Response:
        return web.Response(body=encode_answers([Answer(seq=int(read.user), offset=0, epoch=0) for read in reads]))

    async def post(self, request: web.Request) -> web.Response:
        reads = decode_reads(await request.read())
        self.batches.append(len(reads))
        return self.say(reads)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/reads", server.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def calls() -> AsyncIterator[OwnerCalls]:
    async with aiohttp.ClientSession() as session:
        calls = OwnerCalls(session)
        yield calls
        await calls.close()


def read_of(user: int) -> AnyRead:
    return ReadState(group="g", user=str(user), end=0)


async def test_reads_that_wait_travel_together_and_each_gets_its_own_answer(server: Server, calls: OwnerCalls) -> None:
    answers = await asyncio.gather(*(calls.ask(server.url, read_of(i)) for i in range(200)))
    assert [answer.seq for answer in answers] == list(range(200))
    assert len(server.batches) < 20


@pytest.mark.parametrize(
    "say",
    [
        lambda _: web.Response(status=500),
        lambda _: web.Response(text="not json"),
        lambda _: web.Response(body=encode_answers([])),
    ],
)
async def test_what_is_no_answer_is_a_failed_call(server: Server, calls: OwnerCalls, say: Any) -> None:
    server.say = say
    with pytest.raises(OwnerCallError):
        await calls.ask(server.url, read_of(1))


async def test_an_owner_that_is_not_there_is_a_failed_call_and_not_a_silent_one(calls: OwnerCalls) -> None:
    with pytest.raises(OwnerCallError) as raised:
        await calls.ask("http://127.0.0.1:9", read_of(1))
    assert raised.type is OwnerCallError
