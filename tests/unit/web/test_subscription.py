"""A subscription is one unbroken run, whatever the order in which records and answers come."""

import asyncio
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.outcomes import Rejection
from app.reads import Answer
from web import subscription as under_test
from web.frames import text_frame
from web.hub import Hub
from web.live_events import LiveEvent, Run, leaving_user
from web.reads_client import UnavailableError
from web.subscription import Subscription


def event(seq: int, kind: str = "message.posted", user: str = "-") -> bytes:
    return msgspec.json.encode({"type": "event", "group": "g", "seq": seq, "kind": kind, "data": {"user": user}})


def frames_in(data: bytes) -> list[bytes]:
    """The frames that were joined."""
    found = []
    while data:
        start, size = (4, int.from_bytes(data[2:4], "big")) if data[1] == 126 else (2, data[1])
        found.append(data[: start + size])
        data = data[start + size :]
    return found


class FakeOutbox:
    """Collects what is written; `drained` waits while the reader is slow."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.room = asyncio.Event()
        self.room.set()

    def push(self, frame: bytes, *, live: bool = False) -> None:
        del live
        self.frames.append(frame)

    def write(self, frames: bytes) -> None:
        self.frames += frames_in(frames)

    async def drained(self) -> None:
        await self.room.wait()


class Scene:
    """A group's log, a gateway that reads it later than it is written, and one subscription."""

    def __init__(self, page: int = 500) -> None:
        self.log: list[bytes] = []
        self.read = 0
        self.page = page
        self.hub = Hub()
        self.outbox = FakeOutbox()
        self.ended: list[str | None] = []
        self.fetches: asyncio.Queue[tuple[int, int, int, asyncio.Future[Answer]]] = asyncio.Queue()
        self.subscription = Subscription(
            "g",
            "alice",
            self.outbox,  # type: ignore[arg-type]
            fetch=self._fetch,
            pages=asyncio.Semaphore(1),
            on_end=lambda _, why: self.ended.append(why),
        )

    def append(self, kind: str = "message.posted", user: str = "-") -> None:
        self.log.append(event(len(self.log) + 1, kind, user))

    def read_one(self) -> None:
        """The gateway reads the next record of the log."""
        if self.read < len(self.log):
            value = self.log[self.read]
            self.read += 1
            leaving = leaving_user(msgspec.json.decode(value)["kind"], value)
            self.hub.publish(b"g", LiveEvent(self.read, text_frame(value), leaving))

    def answer(self, after: int, through: int | None = None, seq: int | None = None) -> Answer:
        """What the owner says: a page of the events after `after`."""
        seq = len(self.log) if seq is None else seq
        through = min(seq if through is None else through, after + self.page, seq)
        frames = [msgspec.Raw(frame) for frame in self.log[after:through]]
        return Answer(epoch=0, offset=0, seq=seq, start=after + 1, frames=frames, through=max(through, after))

    async def _fetch(self, after: int, through: int) -> Answer:
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        await self.fetches.put((after, through, len(self.log), asked))
        return await asked

    def answer_one(self) -> None:
        """The owner answers the fetch that waits, if there is one."""
        if not self.fetches.empty():
            after, through, _, asked = self.fetches.get_nowait()
            if not asked.done():
                asked.set_result(self.answer(after, through))

    async def finish(self) -> None:
        """Let everything be read and answered."""
        for _ in range(20 * len(self.log) + 50):
            self.read_one()
            self.answer_one()
            await asyncio.sleep(0)

    def seqs(self) -> list[int]:
        return [msgspec.json.decode(frame[frame.index(b"{") :])["seq"] for frame in self.outbox.frames]


steps = st.lists(st.sampled_from(["append", "read", "answer", "turn", "slow", "quick"]), max_size=60)


@settings(max_examples=300, deadline=None)
@given(before=st.integers(0, 12), unread=st.integers(0, 5), after=st.integers(0, 12), meanwhile=steps, later=steps,
       page=st.integers(1, 4), room=st.integers(1, 4))  # fmt: skip
def test_each_seq_comes_exactly_once_in_order(
    before: int, unread: int, after: int, meanwhile: list[str], later: list[str], page: int, room: int
) -> None:
    async def run() -> None:
        scene = Scene(page)
        for _ in range(before):
            scene.append()
        for _ in range(before - unread):
            scene.read_one()
        start = min(after, before)
        scene.hub.follow(b"g", scene.subscription)  # then the end is taken, then the owner is asked
        for step in meanwhile:
            await take(scene, step)
        scene.subscription.begin(scene.answer(start))
        for step in later:
            await take(scene, step)
        scene.outbox.room.set()
        await scene.finish()
        assert scene.seqs() == list(range(start + 1, len(scene.log) + 1))
        assert scene.ended == []

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(under_test, "BUFFER_EVENTS", room)
        asyncio.run(run())


async def take(scene: Scene, step: str) -> None:
    match step:
        case "append":
            scene.append()
        case "read":
            scene.read_one()
        case "answer":
            scene.answer_one()
        case "slow":
            scene.outbox.room.clear()
        case "quick":
            scene.outbox.room.set()
    await asyncio.sleep(0)


async def live_scene(events: int = 1) -> Scene:
    """A subscription that is live at the head of `events` events."""
    scene = Scene()
    for _ in range(events):
        scene.append()
    scene.read = events
    scene.hub.follow(b"g", scene.subscription)
    scene.subscription.begin(scene.answer(events))
    await scene.finish()
    return scene


async def test_a_gap_in_the_live_run_is_fetched() -> None:
    scene = await live_scene()
    for _ in range(4):
        scene.append()
    scene.read = 3  # the gateway missed two records
    await scene.finish()
    assert scene.seqs() == [2, 3, 4, 5]


async def test_an_event_that_comes_again_is_dropped() -> None:
    scene = await live_scene()
    scene.append()
    scene.read_one()
    scene.read = 0
    await scene.finish()
    assert scene.seqs() == [2]


async def test_the_end_of_the_membership_is_the_last_event() -> None:
    scene = await live_scene()
    scene.append("member.left", "bob")
    scene.append("member.left", "alice")
    scene.append()
    await scene.finish()
    assert scene.seqs() == [2, 3]
    assert scene.ended == [None]


async def test_the_end_of_the_membership_ends_a_replay_that_is_behind_it() -> None:
    scene = Scene(page=1)
    for _ in range(3):
        scene.append()
    scene.read = 3
    scene.hub.follow(b"g", scene.subscription)
    scene.subscription.begin(scene.answer(0))
    scene.append("member.left", "alice")
    scene.append()
    scene.read_one()
    scene.read_one()
    await scene.finish()
    assert scene.seqs() == [1, 2, 3, 4]
    assert scene.ended == [None]


async def test_the_end_of_the_group_is_the_last_event_for_everybody_and_its_next_life_is_not_delivered() -> None:
    scene = await live_scene()
    scene.append()
    scene.append("group.deleted")
    scene.append("group.created")
    await scene.finish()
    assert scene.seqs() == [2, 3]
    assert scene.ended == [None]


async def test_the_end_of_the_group_ends_a_replay_that_is_behind_it() -> None:
    scene = Scene(page=1)
    for _ in range(3):
        scene.append()
    scene.read = 5  # these records went by before this gateway followed the group
    scene.hub.follow(b"g", scene.subscription)
    scene.subscription.begin(scene.answer(0))
    for kind in ("group.deleted", "group.created", "message.posted"):
        scene.append(kind)
    scene.read_one()
    await scene.finish()
    assert scene.seqs() == [1, 2, 3, 4]
    assert scene.ended == [None]


async def test_an_earlier_leaving_in_the_replay_ends_nothing() -> None:
    scene = Scene()
    scene.append("member.left", "alice")
    scene.append()
    scene.read = 2
    scene.hub.follow(b"g", scene.subscription)
    scene.subscription.begin(scene.answer(0))
    await scene.finish()
    assert scene.seqs() == [1, 2]
    assert scene.ended == []


async def test_withheld_events_count_as_covered() -> None:
    scene = Scene()
    for _ in range(3):
        scene.append()
    scene.read = 3
    withheld = msgspec.json.encode({"type": "withheld", "group": "g", "from": 1, "through": 2})
    frames = [msgspec.Raw(withheld), msgspec.Raw(scene.log[2])]
    scene.hub.follow(b"g", scene.subscription)
    scene.subscription.begin(Answer(epoch=0, offset=0, seq=3, start=1, frames=frames, through=3))
    scene.append()
    await scene.finish()
    assert [frame[frame.index(b"{") :] for frame in scene.outbox.frames] == [withheld, *scene.log[2:]]


@pytest.mark.parametrize(
    "page",
    [
        Answer(refusal=Rejection("not_a_member", "no")),
        Answer(seq=9, frames=[], through=1),
        Answer(seq=9, frames=[msgspec.Raw(event(7))], through=7),
        UnavailableError("g"),
    ],
)
async def test_a_run_that_cannot_go_on_says_so_and_skips_nothing(page: Any) -> None:
    scene = await live_scene()
    for _ in range(3):
        scene.append()
    scene.read = 3
    scene.read_one()
    for _ in range(5):
        await asyncio.sleep(0)
    _, _, _, asked = scene.fetches.get_nowait()
    if isinstance(page, Exception):
        asked.set_exception(page)
    else:
        asked.set_result(page)
    await scene.finish()
    assert scene.seqs() == []
    assert len(scene.ended) == 1
    assert scene.ended[0]


async def test_a_fan_out_to_many_keeps_each_ones_order_and_survives_a_broken_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.followers.CHUNK", 3)
    hub = Hub()
    got: dict[int, list[int]] = {}
    lost: list[int] = []

    class Follower:
        def __init__(self, number: int) -> None:
            self.number = number

        def on_run(self, run: Run) -> None:
            if self.number == 4:
                raise RuntimeError("broken")
            got.setdefault(self.number, []).extend(event.seq for event in run.events)

        def lost(self) -> None:
            lost.append(self.number)
            hub.unfollow(b"g", self)

    for number in random.sample(range(10), 10):
        hub.follow(b"g", Follower(number))
    for seq in range(1, 6):
        hub.publish(b"g", LiveEvent(seq, b""))
    await hub.close()
    assert got == {number: [1, 2, 3, 4, 5] for number in range(10) if number != 4}
    assert lost == [4]
