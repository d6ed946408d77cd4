"""What the hub sends past the transports: never past what waits there or in an outbox, and whole."""

import asyncio

import pytest

from tests.support.fake_transport import FakeTransport
from tests.unit.web.members import KEY, Member, event, given_out, in_the_middle, turns
from web import followers
from web.hub import Hub
from web.outbox import WINDOW_BYTES, Outbox


@pytest.mark.parametrize("read", [True, False])
async def test_who_begins_to_wait_in_the_middle_of_a_fan_out_gets_the_run_behind_what_waits(
    read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, members = await in_the_middle(monkeypatch)
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


async def test_an_outbox_that_has_ended_is_held_until_its_socket_has_left() -> None:
    world = Hub()
    member = Member(world, 0)
    member.outbox.discard()
    world.publish(KEY, event(1))
    await turns()
    assert member.transport.writes == []
    member.outbox.leave()
    assert not world.held


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
