"""The fan-out: everybody gets every event once and in order, whoever else comes, goes, stalls or dies."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.web.members import KEY, Member, event, given_out, in_the_middle, turns
from web import followers, hub, live_events, metrics
from web.hub import Hub


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
    world, members = await in_the_middle(monkeypatch)
    world.unfollow(KEY, members[2])
    await world.close()
    assert [member.seqs() for member in members] == [[1], [1], []]


async def test_another_subscription_of_the_same_socket_gets_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    world, members = await in_the_middle(monkeypatch)
    world.unfollow(KEY, members[2])
    again = Member(world, 1, socket=members[2])  # answered by an owner who knew the event already
    world.publish(KEY, event(2))
    await world.close()
    await turns()
    assert again.seqs() == [2]


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
