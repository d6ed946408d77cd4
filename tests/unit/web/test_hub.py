"""The fan-out: everybody gets every event once and in order, whoever else comes, goes, stalls or dies."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_transport import FakeTransport
from web import followers, hub, live_events, metrics
from web.hub import Hub
from web.live_events import LiveEvent, Run
from web.outbox import WINDOW_BYTES, Outbox

KEY = b"g"


class Member:
    """A socket that follows the group from the head on, live at once or when `go_live` says so."""

    group = "g"

    def __init__(self, to: Hub, head: int, *, live: bool = True, socket: "Member | None" = None) -> None:
        """`socket`: whose socket it is, if it is not the first to follow by it."""
        self.transport = socket.transport if socket is not None else FakeTransport()
        self.start = self.cursor = head
        self.runs: list[Run] = []
        self.buffer: list[LiveEvent] = []
        self.live = False
        self.slow = False
        self.hub = to
        self.outbox = socket.outbox if socket is not None else self._outbox()
        to.follow(KEY, self)
        if live:
            self.go_live()

    def _outbox(self) -> Outbox:
        return Outbox(
            self.transport,  # type: ignore[arg-type]
            drain=self.transport.drain,
            is_closed=lambda: False,
            on_slow=self.on_slow,
            held=self.hub.held,
        )

    def go_live(self) -> None:
        """As a subscription whose answer came: what was kept meanwhile is written, and the hub told."""
        if not self.live:
            self.live = True
            for event in self.buffer:
                self.take(event)
            self.hub.advance(self, self.cursor)

    def take(self, event: LiveEvent) -> None:
        if event.seq > self.cursor:
            assert event.seq == self.cursor + 1
            self.outbox.push(event.frame, live=True)
            self.cursor = event.seq

    def on_slow(self) -> None:
        self.slow = True

    def on_run(self, run: Run) -> None:
        self.runs.append(run)
        if not self.live:
            self.buffer += run.events
            return
        if run.first == self.cursor + 1:
            self.outbox.write(run.frames)
            self.cursor = run.last
        for event in run.events:
            self.take(event)
        self.hub.advance(self, self.cursor)

    def resume(self, cursor: int) -> None:
        self.cursor = cursor

    def lost(self) -> None:
        raise AssertionError

    def seqs(self) -> list[int]:
        """What was written to the socket."""
        return [int(seq) for seq in b"".join(self.transport.writes).split()]


def event(seq: int, size: int = 0, leaving: str | None = None) -> LiveEvent:
    return LiveEvent(seq, b"%d " % seq + b" " * size, leaving)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Play:
    """Members who come, go, stall and read while events are published."""

    def __init__(self) -> None:
        self.world = Hub()
        self.members = [Member(self.world, 0) for _ in range(3)]
        self.gone: list[Member] = []
        self.last = 0

    async def publish(self, leaving: int) -> None:
        self.last += 1
        self.world.publish(KEY, event(self.last, leaving="somebody" if leaving % 2 else None))

    async def flush(self, _: int) -> None:
        self.world.flush()

    async def turn(self, _: int) -> None:
        await asyncio.sleep(0)

    async def join(self, live: int) -> None:
        # As a subscription that was answered at the head: whatever was published before it is no news.
        self.members.append(Member(self.world, self.last, live=bool(live % 2)))

    async def leave(self, which: int) -> None:
        if len(self.members) > 1:
            member = self.members.pop(which % len(self.members))
            self.world.unfollow(KEY, member)
            self.gone.append(member)

    async def live(self, which: int) -> None:
        self.members[which % len(self.members)].go_live()

    async def stall(self, which: int) -> None:
        self.members[which % len(self.members)].transport.stall(after=which)

    async def read(self, which: int) -> None:
        self.members[which % len(self.members)].transport.take_all()

    async def reply(self, which: int) -> None:
        self.members[which % len(self.members)].outbox.push(b" ")

    async def end(self) -> None:
        await given_out(self.world)
        for member in self.members:
            member.go_live()
            member.transport.take_all()
        await turns(200)


steps = st.lists(
    st.tuples(
        st.sampled_from(["publish", "publish", "flush", "turn", "join", "leave", "live", "stall", "read", "reply"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps, chunk=st.integers(1, 3), run_bytes=st.integers(1, 12))
def test_each_member_gets_each_event_once_and_in_order_whatever_the_others_do(
    steps: list[tuple[str, int]], chunk: int, run_bytes: int
) -> None:
    async def run() -> None:
        play = Play()
        for what, which in steps:
            await getattr(play, what)(which)
        await play.end()
        for member in play.members:
            assert member.seqs() == list(range(member.start + 1, play.last + 1))
        for member in play.gone:
            seqs = member.seqs()
            assert seqs == list(range(member.start + 1, member.start + 1 + len(seqs)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(followers, "CHUNK", chunk)
        patched.setattr(live_events, "RUN_BYTES", run_bytes)
        patched.setattr(hub, "PAUSE_S", 0)
        asyncio.run(run())


async def given_out(world: Hub) -> None:
    """Let everything that was published reach the outboxes."""
    world.flush()
    while any(group.waiting is not None for group in world._groups.values()):
        await asyncio.sleep(0)


async def test_a_dead_member_in_the_middle_harms_nobody() -> None:
    world = Hub()
    members = [Member(world, 0) for _ in range(5)]
    members[2].transport.raises = True
    for seq in (1, 2):
        world.publish(KEY, event(seq))
        world.flush()
    await turns()
    assert [member.seqs() for member in members] == [[1, 2], [1, 2], [], [1, 2], [1, 2]]
    assert world.held == {members[2].outbox.sock_send}  # nobody tries it again


async def test_events_of_one_tick_are_joined_once_for_all() -> None:
    world = Hub()
    members = [Member(world, 0) for _ in range(3)]
    for seq in (1, 2, 3):
        world.publish(KEY, event(seq))
    await turns()
    written = [member.transport.writes for member in members]
    assert [len(writes) for writes in written] == [1, 1, 1]
    assert written[0][0] is written[1][0] is written[2][0]


def beside(one: Member, world: Hub) -> None:
    """Have the socket of `one` follow the group `h`, too, at its head."""
    other = Member.__new__(Member)
    other.__dict__ |= {**one.__dict__, "group": "h", "runs": []}
    world.follow(b"h", other)
    world.advance(other, 0)


async def test_what_one_socket_gets_of_several_groups_in_a_tick_is_one_write() -> None:
    world = Hub()
    one = Member(world, 0)
    beside(one, world)
    world.publish(KEY, event(1))
    world.publish(b"h", event(1))
    await turns()
    assert one.transport.writes == [b"1 1 "]


async def test_a_groups_events_stay_in_order_behind_a_reply_that_waits_beside_another_groups() -> None:
    world = Hub()
    one = Member(world, 0)
    beside(one, world)
    one.outbox.push(b"reply ")
    world.publish(KEY, event(1))
    world.publish(b"h", event(1))
    world.flush()
    world.publish(KEY, event(2))
    world.flush()
    await turns()
    assert b"".join(one.transport.writes) == b"reply 1 1 2 "


async def test_a_run_that_cannot_be_given_out_breaks_everybodys_and_the_next_ones_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    lost: list[Member] = []
    members = [Member(world, 0) for _ in range(2)]
    for member in members:
        monkeypatch.setattr(member, "lost", lambda member=member: lost.append(member))
    with monkeypatch.context() as broken:
        broken.setattr(followers.Followers, "give", lambda *_: 1 / 0)
        world.publish(KEY, event(1))
        await given_out(world)
    assert lost == members
    world.publish(KEY, event(1))
    await given_out(world)
    assert [member.seqs() for member in members] == [[1], [1]]


async def test_a_fan_out_to_very_many_lets_the_loop_turn_between_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "CHUNK", 10)
    world = Hub()
    members = [Member(world, 0) for _ in range(35)]
    world.publish(KEY, event(1))
    world.flush()
    served = []
    while not served or served[-1] < len(members):
        served.append(sum(bool(member.transport.writes) for member in members))
        await asyncio.sleep(0)
    assert [b - a for a, b in itertools.pairwise(served) if b > a] == [10, 10, 10, 5]


async def test_a_large_batch_does_not_stand_before_a_reader_who_keeps_up() -> None:
    world = Hub()
    member = Member(world, 0)

    async def read() -> None:
        while True:
            member.transport.take_all()
            await asyncio.sleep(0)

    reading = asyncio.create_task(read())
    for seq in range(1, 101):
        world.publish(KEY, event(seq, size=60_000))
    await world.close()
    await turns()
    reading.cancel()
    assert not member.slow
    assert member.seqs() == list(range(1, 101))
    assert max(map(len, member.transport.writes)) <= live_events.RUN_BYTES


async def test_between_two_parts_of_a_large_batch_readers_are_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PAUSE_S", 3600)
    world = Hub()
    member = Member(world, 0)
    for seq in (1, 2, 3):
        world.publish(KEY, event(seq, size=40_000))
    await turns(50)
    assert member.seqs() == [1]
    for pump in world._pumps:
        pump.cancel()


async def test_a_member_that_left_in_the_middle_of_a_fan_out_is_written_to_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    members = [Member(world, 0) for _ in range(3)]
    world.publish(KEY, event(1))
    world.flush()
    await asyncio.sleep(0)  # the first has got it
    world.unfollow(KEY, members[2])
    await world.close()
    assert [member.seqs() for member in members] == [[1], [1], []]


async def test_another_subscription_of_the_same_socket_gets_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    members = [Member(world, 0) for _ in range(3)]
    world.publish(KEY, event(1))
    world.flush()
    await asyncio.sleep(0)  # the first has got it
    world.unfollow(KEY, members[2])
    again = Member(world, 1, socket=members[2])  # answered by an owner who knew the event already
    world.publish(KEY, event(2))
    await world.close()
    await turns()
    assert again.seqs() == [2]


@pytest.mark.parametrize("read", [True, False])
async def test_who_begins_to_wait_in_the_middle_of_a_fan_out_gets_the_run_behind_what_waits(
    read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    members = [Member(world, 0) for _ in range(3)]
    world.publish(KEY, event(1))
    world.flush()
    await asyncio.sleep(0)  # the first has got it
    last = members[2]
    last.transport.stall(after=2)
    last.outbox.push(b"7 7 7 ")
    last.outbox._flush()
    if read:
        last.transport.stall(after=100)  # the kernel has room again, and the transport does not know of it yet
    await given_out(world)
    assert last.transport.writes == [b"7 7 7 "]
    last.transport.take_all()
    await turns()
    assert b"".join(last.transport.writes) == b"7 7 7 1 "
    world.publish(KEY, event(2))
    await given_out(world)
    world.publish(KEY, event(3))
    await given_out(world)
    assert [member.seqs() for member in members] == [[1, 2, 3], [1, 2, 3], [7, 7, 7, 1, 2, 3]]
    assert [len(member.runs) for member in members] == [0, 0, 2]  # it is in front again


async def test_who_goes_live_before_its_turn_in_a_fan_out_is_not_taken_for_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    first, second = Member(world, 0, live=False), Member(world, 0, live=False)
    world.publish(KEY, event(1))
    world.flush()
    await asyncio.sleep(0)  # the first has got it
    second.go_live()
    first.go_live()
    await given_out(world)
    world.publish(KEY, event(2))
    await world.close()
    await turns()
    assert first.seqs() == second.seqs() == [1, 2]


async def test_nothing_is_written_past_what_waits_in_the_outbox() -> None:
    world = Hub()
    member = Member(world, 0, live=False)
    world.publish(KEY, event(1))
    world.flush()
    member.go_live()  # the event waits for the end of the tick
    for seq in (2, 3):
        world.publish(KEY, event(seq))
        world.flush()
    await turns()
    assert member.seqs() == [1, 2, 3]


async def test_whose_window_is_full_is_not_written_to_until_it_has_read() -> None:
    world = Hub()
    member = Member(world, 0)
    member.transport.stall()
    world.publish(KEY, event(1, size=WINDOW_BYTES))
    world.flush()
    world.publish(KEY, event(2))
    world.flush()
    await turns()
    assert member.seqs() == [1]
    member.transport.take_all()
    await turns()
    assert member.seqs() == [1, 2]
    assert not world.held


async def test_what_ends_a_membership_goes_through_each_subscription() -> None:
    world = Hub()
    members = [Member(world, 0) for _ in range(2)]
    world.publish(KEY, event(1))
    world.publish(KEY, event(2, leaving="alice"))
    await turns()
    assert [[run.last for run in member.runs] for member in members] == [[2], [2]]
    world.publish(KEY, event(3))
    await turns()
    assert [member.seqs() for member in members] == [[1, 2, 3]] * 2
    assert [len(member.runs) for member in members] == [1, 1]  # both are in front again


async def test_an_outbox_that_has_ended_is_held_until_its_socket_has_left() -> None:
    world = Hub()
    member = Member(world, 0)
    member.outbox.discard()
    world.publish(KEY, event(1))
    await turns()
    assert member.transport.writes == []
    member.outbox.leave()
    assert not world.held


def value_of(metric: Any) -> float:
    return float(metric._value.get())


async def test_what_is_written_is_counted() -> None:
    world = Hub()
    before = value_of(metrics.FRAMES), value_of(metrics.BYTES)
    for _ in range(3):
        Member(world, 0)
    for seq in (1, 2):
        world.publish(KEY, event(seq))
    await turns()
    assert (value_of(metrics.FRAMES) - before[0], value_of(metrics.BYTES) - before[1]) == (6, 12)


@pytest.mark.parametrize("chunk", [1, 100])
@pytest.mark.parametrize("after", [0, 1, 3, 999, 1004, 2500])
async def test_what_the_kernel_does_not_take_of_a_frame_comes_before_the_next(
    after: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "CHUNK", chunk)
    world = Hub()
    members = [Member(world, 0) for _ in range(5)]
    members[2].transport.stall(after)
    for seq in range(1, 11):
        world.publish(KEY, event(seq, size=1000))
        await given_out(world)
    assert members[2].seqs() == list(range(1, 2 + after // 1003))  # and what was begun
    assert world.held == {members[2].outbox.sock_send}
    members[2].transport.take_all()
    await turns()
    assert [member.seqs() for member in members] == [list(range(1, 11))] * 5
    assert not world.held
    for member in members:
        member.runs.clear()
    world.publish(KEY, event(11))
    await given_out(world)
    assert [len(member.runs) for member in members] == [0, 0, 1, 0, 0]  # it takes its place in front with this one
    world.publish(KEY, event(12))
    await given_out(world)
    assert [len(member.runs) for member in members] == [0, 0, 1, 0, 0]


async def test_whose_socket_cannot_be_duplicated_gets_everything_through_the_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dup(_: FakeTransport) -> None:
        raise OSError(24, "Too many open files")

    world = Hub()
    with monkeypatch.context() as full:
        full.setattr(FakeTransport, "dup", dup)
        members = [Member(world, 0) for _ in range(2)]
        for seq in (1, 2):
            world.publish(KEY, event(seq))
            await given_out(world)
        assert [len(member.runs) for member in members] == [2, 2]
    world.publish(KEY, event(3))
    await given_out(world)
    world.publish(KEY, event(4))
    await given_out(world)
    assert [len(member.runs) for member in members] == [3, 3]  # descriptors are free again: they came to the front
    assert [member.seqs() for member in members] == [[1, 2, 3, 4]] * 2


async def test_a_descriptor_lives_no_longer_than_what_is_written() -> None:
    world = Hub()
    ends = [Outbox.finish, Outbox.discard, Outbox.leave]
    members = [Member(world, 0) for _ in ends]
    world.publish(KEY, event(1))
    await turns()
    assert [member.transport.duplicates for member in members] == [1, 1, 1]
    for member, end in zip(members, ends, strict=True):
        end(member.outbox)
    assert [member.transport.duplicates for member in members] == [0, 0, 0]
