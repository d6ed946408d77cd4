"""Reports to owners: against owners that lose, refuse, forget and move, with the service's own state behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.presence import PartitionPresence
from app.owners import Owners
from app.presence import BODY_CHANGES, Reports, Word, decode_reports, encode_words
from app.reads import OwnerRecord
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from web import presence_reporter
from web.presence_reporter import Reporter
from web.presence_ways import Home, Way

LOG = "log"


class Owner:
    """The owner of all partitions at one URL; `fails` says what becomes of the next bodies."""

    def __init__(self) -> None:
        self.presence = PartitionPresence(0)
        self.bodies: list[Reports] = []
        self.fails: list[str] = []
        self.under_way = 0
        self.most_under_way = 0

    async def post(self, _url: str, body: bytes) -> bytes:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            how = self.fails.pop(0) if self.fails else "heard"
            await (asyncio.Event().wait() if how == "silent" else asyncio.sleep(0.001))
        finally:
            self.under_way -= 1
        if how == "lost":
            raise ConnectionResetError
        reports = decode_reports(body)
        if how == "not_owner":
            return encode_words(["not_owner"] * len(reports.reports))
        self.bodies.append(reports)
        words: list[Word] = [self.presence.report(reports.gateway, each, 0) for each in reports.reports]
        if how == "answer lost":
            raise TimeoutError
        return encode_words(words)

    def online(self) -> set[str]:
        return set(self.presence.online("g"))


def owner_record(epoch: int, url: str = "http://o") -> OwnerRecord:
    return OwnerRecord(url=url, epoch=epoch, offset=0, worker="w", log=LOG)


class Scene:
    def __init__(self) -> None:
        self.owner = Owner()
        self.owners = Owners(1, LOG)
        self.reporter = Reporter(self.owners, self.post, gateway="gw", partitions=1)
        self.owners.listen(self.reporter.on_owner)

    async def post(self, url: str, body: bytes) -> bytes:
        return await self.owner.post(url, body)

    async def sees(self, *users: str) -> None:
        await until(lambda: self.owner.online() == set(users))

    def replace_owner(self, epoch: int) -> None:
        self.owner = Owner()
        self.owners.learn(0, owner_record(epoch))


@asynccontextmanager
async def running() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.owners.learn(0, owner_record(1))
    task = asyncio.create_task(scene.reporter.run())
    try:
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_comes_and_goes_is_reported() -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        scene.reporter.enter("g", "bob", None)
        await scene.sees("ann", "bob")
        scene.reporter.leave("g", "ann")
        await scene.sees("bob")


@pytest.mark.parametrize("is_known", [True, False])
async def test_channels_that_are_opened_between_two_reports_are_all_reported_in_their_order(is_known: bool) -> None:
    async with running() as scene:
        if is_known:
            scene.reporter.enter("g", "bob", None)
            await scene.sees("bob")
        for channel in ("one", "two", "three"):
            scene.reporter.enter("g", "ann", channel)
        scene.reporter.enter("g", "bob", None)
        await scene.sees("ann", "bob")
        [told] = scene.owner.presence.due(1)
        assert told.again == [("ann", "one"), ("ann", "two"), ("ann", "three")]


@pytest.mark.parametrize("is_known", [True, False])
async def test_who_comes_and_is_gone_between_two_reports_is_reported_as_both(is_known: bool) -> None:
    async with running() as scene:
        if is_known:
            scene.reporter.enter("g", "bob", None)
            await scene.sees("bob")
            scene.owner.presence.due(1)
        scene.reporter.enter("g", "ann", "one")
        scene.reporter.leave("g", "ann")
        scene.reporter.enter("g", "cid", None)
        await scene.sees(*(("bob",) if is_known else ()), "cid")
        came, went = scene.owner.presence.due(2)
        assert "ann" in came.joined
        assert came.again == [("ann", "one")]
        assert went.left == ["ann"]


@pytest.mark.parametrize("how", ["lost", "answer lost", "not_owner"])
async def test_what_fails_is_told_again_until_it_is_heard(how: str) -> None:
    async with running() as scene:
        scene.owner.fails = [how] * 3
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
        scene.owner.fails = [how] * 2
        scene.reporter.leave("g", "ann")
        await scene.sees()


async def test_an_owner_that_has_forgotten_everything_is_told_everything() -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
        scene.owner.presence = PartitionPresence(0)
        scene.reporter.enter("g", "bob", None)
        await scene.sees("ann", "bob")


async def test_a_new_owner_is_told_everything_at_once() -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
        scene.replace_owner(2)
        await scene.sees("ann")


def test_a_new_owner_is_due_at_once_and_not_with_the_next_heartbeat() -> None:
    way = Way(0)
    way.here["g", "ann"] = None
    way.move(Home("http://o", 1))
    report = way.next_report(10, 100.0)
    way.on_word(report, "ok", 100.0)
    assert way.due_at() > 100.0
    way.move(Home("http://o", 2))
    assert way.due_at() <= 100.0
    assert [change.user for change in way.next_report(10, 100.0).changes] == ["ann"]


async def test_a_large_state_goes_in_bodies_of_bounded_size_one_at_a_time() -> None:
    async with running() as scene:
        users = [f"u{n}" for n in range(3 * BODY_CHANGES)]
        for user in users:
            scene.reporter.enter("g", user, None)
        await scene.sees(*users)
        sizes = [sum(len(report.changes) for report in body.reports) for body in scene.owner.bodies]
        assert max(sizes) <= BODY_CHANGES
        assert scene.owner.most_under_way == 1


async def test_heartbeats_come_while_somebody_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.presence_ways.HEARTBEAT_S", 0.01)
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
        beats = len(scene.owner.bodies)
        await until(lambda: len(scene.owner.bodies) > beats + 3)
        assert scene.owner.bodies[-1].reports[0].changes == []


async def test_who_asks_waits_until_the_owner_has_heard_what_was_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.presence_ways.HEARTBEAT_S", 3600)  # none brings what failed
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.reporter.heard("g")
        assert scene.owner.online() == {"ann"}
        scene.owner.fails = ["lost", "answer lost"]
        scene.reporter.leave("g", "ann")
        async with asyncio.timeout(30):
            await scene.reporter.heard("g")
        assert scene.owner.online() == set()


async def test_the_last_word_is_that_everybody_is_gone() -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
    await scene.reporter.close()
    assert scene.owner.online() == set()


async def test_an_owner_that_is_away_holds_up_no_close() -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
    scene.owner.fails = ["lost"]
    await scene.reporter.close()
    assert scene.owner.online() == {"ann"}


async def test_an_owner_that_keeps_silent_holds_up_no_close_however_late_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as scene:
        scene.reporter.enter("g", "ann", None)
        await scene.sees("ann")
    clock = LoopClock(monkeypatch)
    scene.owner.fails = ["silent"]
    closing = asyncio.create_task(scene.reporter.close())
    await until(lambda: scene.owner.under_way)
    await clock.put_forward(10 * presence_reporter.FAREWELL_S)  # all that a close waits for is over at once
    async with asyncio.timeout(30):
        await closing
    assert scene.owner.online() == {"ann"}


USERS = ["ann", "bob"]
GATEWAYS = ["a", "b"]
_step = st.one_of(
    st.tuples(st.sampled_from(["turn", "turn and report"]), st.sampled_from(GATEWAYS), st.sampled_from(USERS)),
    st.tuples(st.just("turn and report"), st.just("a"), st.sampled_from(USERS)),
    st.tuples(st.just("late"), st.just("a"), st.sampled_from("0123")),  # which of the last few
    st.tuples(
        st.sampled_from(["report", "lost", "answer lost", "repeat", "late", "moved"]),
        st.sampled_from(GATEWAYS),
        st.just(""),
    ),
    st.tuples(st.sampled_from(["new owner", "forgets", "new owner, untold"]), st.just("a"), st.just("")),
)


class Network:
    """Two gateways' ways to an owner, step by step: what is sent may be lost, come twice, or come late."""

    def __init__(self) -> None:
        self.epoch = 1
        self.presence = PartitionPresence(0)
        self.ways = {gateway: Way(0) for gateway in GATEWAYS}
        self.sent: list[Callable[[], Word]] = []
        for way in self.ways.values():
            way.move(Home("o", self.epoch))

    def do(self, what: str, gateway: str, user: str) -> None:
        way = self.ways[gateway]
        match what:
            case "turn" | "turn and report":  # the user comes, or goes
                if ("g", user) in way.here:
                    del way.here["g", user]
                else:
                    way.here["g", user] = None
                way.change(("g", user))
                if what == "turn and report":
                    self.send(gateway, "report")
            case "report" | "lost" | "answer lost" | "repeat":
                self.send(gateway, what)
            case "late" if self.sent:
                self.sent[int(user or "0") % len(self.sent)]()
            case "moved":
                way.move(Home("o", self.epoch))
            case "new owner" | "new owner, untold":
                self.epoch += 1
                self.presence = PartitionPresence(0)
                if what == "new owner":
                    for each in self.ways.values():
                        each.move(Home("o", self.epoch))
            case "forgets":
                self.presence = PartitionPresence(0)

    def send(self, gateway: str, what: str) -> None:
        way = self.ways[gateway]
        report, presence = way.next_report(2, 0), self.presence

        def arrive() -> Word:
            return presence.report(gateway, report, 0)

        self.sent = [*self.sent[-3:], arrive]
        if what == "lost":
            way.on_failure(report, 0)
            return
        word = arrive()
        if what == "repeat":
            word = arrive()
        if what == "answer lost":
            way.on_failure(report, 0)
        else:
            way.on_word(report, word, 0)

    def settle(self) -> None:
        """Whatever happened, the next few heartbeats find out."""
        for _ in range(12):
            for gateway in GATEWAYS:
                self.send(gateway, "report")


@settings(max_examples=300)
@given(st.lists(_step, max_size=40))
def test_whatever_is_lost_repeated_late_or_forgotten_the_owner_ends_with_what_is_true(
    steps: list[tuple[str, str, str]],
) -> None:
    network = Network()
    for what, gateway, user in steps:
        network.do(what, gateway, user)
    network.settle()
    true = {user for way in network.ways.values() for _, user in way.here}
    assert set(network.presence.online("g")) == true
