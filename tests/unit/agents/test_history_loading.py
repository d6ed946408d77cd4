"""While the history is loaded: what needs it waits, all else is served, and nothing is folded out of its order."""

import asyncio
from typing import Any, cast

import pytest

from agents import partition as module
from agents.commands import CommandRecord
from agents.lane import Lane
from agents.reading import answer
from app.domain.commands import Delete, React
from app.reads import Answer, ReadMessages, ReadState, ReadSubscription
from tables.loader import BeyondEndError
from tables.partition_tables import PartitionTables
from tables.stoppable import Stop, StoppableStore, StoppedError
from tests.support.memory_store import MemoryStore
from tests.support.until import until
from tests.unit.agents.test_partition import EPOCH, World, create, post


class Loading:
    """What the history needs, until the test says that it is there."""

    def __init__(self) -> None:
        self.tables: PartitionTables | None = None
        self.there = asyncio.Event()
        self.fault: Exception | None = None
        self.stopped = False

    async def run(self) -> None:
        await self.there.wait()
        if self.stopped:
            raise StoppedError
        if self.fault is not None:
            raise self.fault
        assert self.tables is not None
        while not self.tables.release(1):
            await asyncio.sleep(0)

    def stop(self) -> None:
        self.stopped = True
        self.there.set()


class LoadingWorld(World):
    """A partition whose history is not there yet."""

    def __init__(self) -> None:
        self.loading = Loading()
        super().__init__(loading=cast("Any", self.loading))
        self.loading.tables = self.partition.tables
        self.partition.tables.hold_history()

    async def read(self, read: Any) -> Answer:
        return await answer(self.partition, "log", read, timeout_s=60)


async def in_background(world: World, offset: int, *commands: Any) -> asyncio.Task[None]:
    task = asyncio.create_task(world.send(offset, *commands))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def test_what_names_no_message_is_decided_meanwhile() -> None:
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    assert [e["event"].kind for e in world.broker.events] == ["group.created", "message.posted"]


async def test_what_names_a_message_waits_and_what_comes_behind_it_too() -> None:
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    waiting = await in_background(world, 1, React(id="r", group="g", by="olga", seq=2, emoji="x"), post("b"))
    assert len(world.broker.events) == 2
    world.loading.there.set()
    await waiting
    assert [e["event"].kind for e in world.broker.events[2:]] == ["reaction.added", "message.posted"]


async def test_what_waited_is_folded_in_its_order() -> None:
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    waiting = await in_background(world, 1, Delete(id="d", group="g", by="olga", seq=2))
    world.loading.there.set()
    await waiting
    world.broker.deliver()
    messages = (await world.read(ReadMessages(group="g", user="olga", end=0))).messages
    assert [b'"deleted":true' in bytes(m) for m in messages] == [True]


async def test_reads_of_the_history_are_told_to_come_later_and_others_are_served() -> None:
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    world.broker.deliver()
    end = EPOCH + 3
    said = [
        await world.read(read)
        for read in (
            ReadMessages(group="g", user="olga", end=end),
            ReadSubscription(group="g", user="olga", end=end, after=0),
            ReadState(group="g", user="olga", end=end, at_seq=1),
            ReadState(group="g", user="olga", end=end),
            ReadSubscription(group="g", user="olga", end=end),
        )
    ]
    assert [a.missing for a in said] == ["loading", "loading", "loading", None, None]
    assert (said[4].start, said[4].through, said[4].frames) == (3, 2, [])


async def test_commands_wait_where_too_many_events_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_EVENTS", 2)
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    waiting = await in_background(world, 1, post("b"))
    assert len(world.broker.events) == 2
    world.loading.there.set()
    await waiting
    assert len(world.broker.events) == 3


async def test_a_history_that_cannot_be_loaded_leaves_the_process() -> None:
    world = LoadingWorld()
    world.loading.fault = OSError("gone")
    world.loading.there.set()
    await until(lambda: world.left)
    assert not world.partition.serving


async def test_a_history_whose_data_is_at_fault_stops_the_partition_alone() -> None:
    world = LoadingWorld()
    world.loading.fault = fault = BeyondEndError("lost")
    world.loading.there.set()
    await until(lambda: world.stopped)
    assert (world.stopped, world.left) == ([(0, fault)], [])


async def test_closing_stops_the_loading_and_what_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoadingWorld()

    async def nothing() -> None:
        pass

    monkeypatch.setattr(world.partition._flusher, "flush", nothing)
    await world.send(0, create())
    world.broker.deliver()
    await world.partition.submit(world.record(1, React(id="r", group="g", by="olga", seq=1, emoji="x")), lambda: None)
    for _ in range(5):
        await asyncio.sleep(0)
    await world.partition.close()
    assert (world.loading.stopped, len(world.broker.events), world.left) == (True, 1, [])


async def test_a_snapshot_meanwhile_has_the_groups_and_not_the_history() -> None:
    world = LoadingWorld()
    await world.send(0, create(), post("a"))
    before = world.partition.tables.snapshot(EPOCH)
    assert (before.tables, before.history, bool(before.groups)) == (("groups",), [], True)
    world.partition.tables.written(before.tables)
    world.loading.there.set()
    await until(lambda: world.partition.tables.held is None)
    after = world.partition.tables.snapshot(EPOCH)
    assert (after.tables, len([k for k, _ in after.history if b"\x00e" in k])) == (("groups", "history"), 2)


async def test_a_full_lane_holds_up_who_fills_it_and_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.lane.LANE_RECORDS", 2)
    gate, handled = asyncio.Event(), []

    async def handle(record: Any, done: Any) -> None:
        await gate.wait()
        handled.append(record)

    lane = Lane(handle, lambda why: None)
    records = [CommandRecord(n, 0, None, b"", []) for n in range(9)]
    puts = asyncio.create_task(put_all(lane, records))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not puts.done()
    gate.set()
    await puts
    await until(lambda: len(handled) == 9)
    assert handled == records
    await lane.close()


async def test_a_lane_is_full_by_its_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.lane.LANE_BYTES", 10)
    gate = asyncio.Event()

    async def handle(record: Any, done: Any) -> None:
        await gate.wait()

    lane = Lane(handle, lambda why: None)
    puts = asyncio.create_task(put_all(lane, [CommandRecord(n, 0, None, b"123456", []) for n in range(4)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not puts.done()
    gate.set()
    await puts
    await lane.close()


async def put_all(lane: Lane, records: Any) -> None:
    for record in records:
        await lane.put(record, lambda: None)


def test_a_stopped_store_takes_no_batch() -> None:
    store, stop = MemoryStore(), Stop()
    stoppable = StoppableStore(store, stop)
    stoppable.write([(b"k", b"1")], 1)
    stop.now()
    with pytest.raises(StoppedError):
        stoppable.write([(b"k", b"2")], 2)
    assert (store.get(b"k"), stoppable.offset()) == (b"1", 1)
