"""Design §4's rules, one by one: the shortest trace of the model that breaks without the rule, on a real broker.

Each trace is run with all rules, when nothing may be wrong, and without the one it is about, when that must be seen.
A partition of its own for each; owners live in this process, so that what a fenced one still writes lands exactly
where the trace has it. `test_stopped_worker` does the same to real ones.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.domain.commands import Command
from tables.write_behind import FencedError
from tests.support.audit import begin
from tests.support.driver import Driver
from tests.support.owners import Owner, World
from tests.support.rules import switch_off
from tests.support.until import until

PARTITIONS = 48
Trace = Callable[[World], Awaitable[list[str]]]

_partitions = itertools.count()


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    return begin(module_broker, PARTITIONS)


@pytest.fixture
async def world(driver: Driver) -> AsyncIterator[World]:
    made = World(driver, next(_partitions))
    yield made
    await made.close()


async def begun(world: World) -> Owner:
    """An owner of a partition with a group, which is written."""
    owner = await world.owner()
    await world.send(world.create())
    await owner.take()
    await owner.settle()
    await owner.flush()
    return owner


async def ended(world: World, owner: Owner) -> list[str]:
    """What is wrong when `owner` has decided all there is."""
    await owner.take()
    await owner.settle()
    return await world.violations()


async def an_event_lands_behind_the_next_owners(world: World) -> list[str]:
    """A decides, B claims and decides the same, A's event lands."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"))
    await a.take()
    b = await world.owner()
    await b.take()
    await b.settle()
    a.events.release()
    await until(lambda: a.left or not len(a.partition.in_flight))
    return await ended(world, b)


async def a_repetition_is_answered_from_an_event_that_is_void(world: World) -> list[str]:
    """A decides a message and its repetition; an owner claims and dies; A's event lands behind the claim."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"), world.post("one"))
    await a.take()
    await world.claim()
    a.events.release()
    await until(lambda: a.left or not len(a.partition.in_flight))
    return await world.told_too_early()


async def void_events_are_written_behind(world: World) -> list[str]:
    """As before; A writes its state behind, and the next owner on another disk loads it."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"))
    await a.take()
    await world.claim()
    a.events.release()
    await until(lambda: a.left or not len(a.partition.in_flight))
    if not a.left:
        await a.flush()
    await a.die()
    c = await world.owner()
    await world.send(world.post("two"))
    return await ended(world, c)


async def a_repetition_is_answered_before_the_event_is_on_disk(world: World) -> list[str]:
    """A decides a message and its repetition, and dies with the event in its queue."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"))
    await world.send(world.post("one"))  # in a record of its own: a record's events leave when all of it is decided
    await a.take()
    a.events.lose(1)
    a.events.release()  # whatever stood behind the event
    await a.die()
    return await world.told_too_early()


async def the_stores_offset_jumps_over_the_next_owners_rows(world: World) -> list[str]:
    """A's rows land behind B's; A is the owner again, on its own disk, when B has written once more."""
    a = await begun(world)
    await world.send(world.create(world.other), world.post("one"))
    await a.take()
    await a.begin_flush()
    b = await world.owner()
    await world.send(world.post("two"))
    await b.take()
    await b.flush()
    a.changelog.release()
    await a.flushed()
    await a.die()
    await world.send(world.post("else", world.other))
    await b.take()
    await b.flush()
    await b.die()
    again = await world.owner(a.stores)
    await world.send(world.post("three"))
    return await ended(world, again)


async def a_late_head_replaces_a_newer_one(world: World) -> list[str]:
    """A's rows land behind all that B ever wrote; B dies, and the next owner loads onto an empty disk."""
    a = await begun(world)
    await world.send(world.join("mike"))
    await a.take()
    await a.begin_flush()
    b = await world.owner()
    await world.send(world.post("two"))
    await b.take()
    await b.flush()
    a.changelog.release()
    await a.flushed()
    await b.die()
    c = await world.owner()
    await world.send(world.post("three"))
    return await ended(world, c)


async def a_late_deletion_takes_a_newer_row(world: World) -> list[str]:
    """A's deletion of a member's row lands alone behind B's row of the member who is back."""
    a = await begun(world)
    await world.send(world.join("mike"))
    await a.take()
    await a.flush()
    await world.send(world.leave("mike"))
    await a.take()
    await a.begin_flush()
    b = await world.owner()
    await world.send(world.join("mike"))
    await b.take()
    await b.flush()
    await a.changelog.let_deletion_through()
    await a.die()
    await b.die()
    c = await world.owner()
    await world.send(world.post("back", user="mike"))
    return await ended(world, c)


async def an_owner_that_is_none_any_more_answers(world: World) -> list[str]:
    """B has claimed and accepted; a gateway that looked up the log's end asks A."""
    a = await begun(world)
    b = await world.owner()
    await world.send(world.post("one"))
    await b.take()
    await b.settle()
    said = await a.ask("olga")
    stale = [] if said.missing else [f"A answers with seq {said.seq}, the log is at 2"]
    return stale + await ended(world, b)


async def a_flush_is_cut_after_its_first_records(world: World) -> list[str]:
    """A dies in a flush when two records have left, and its disk is lost."""
    a = await begun(world)
    await world.send(world.post("one"), world.post("two"))
    await a.take()
    await a.begin_flush()
    await a.changelog.let_through(2)
    await a.die()
    c = await world.owner()
    await world.send(world.post("three"))
    return await ended(world, c)


async def a_flush_is_cut_in_the_middle_of_a_groups_rows(world: World) -> list[str]:
    """As before after one record, of a member and a message; then that message is repeated."""
    return await _cut_after_one_row(world, world.join("mike"), world.post("one"))


async def a_flush_of_messages_is_cut(world: World) -> list[str]:
    """As before, of messages only, which write no head."""
    return await _cut_after_one_row(world, world.post("one"), world.post("two"))


async def _cut_after_one_row(world: World, *commands: Command) -> list[str]:
    a = await begun(world)
    await world.send(*commands)
    await a.take()
    await a.begin_flush()
    await a.changelog.let_through(1)
    await a.die()
    c = await world.owner()
    await world.send(world.post("one"))
    return await ended(world, c)


async def a_flush_whose_rows_are_lost_and_then_the_disk(world: World) -> list[str]:
    """A dies in a flush; it is the owner again on its disk, writes another group, and then its disk is lost."""
    a = await begun(world)
    await world.send(world.post("one"))
    await a.take()
    await a.begin_flush()
    await a.die()
    again = await world.owner(a.stores)
    await world.send(world.create(world.other))
    await again.take()
    await again.flush()
    await again.die()
    c = await world.owner()
    await world.send(world.post("two"))
    return await ended(world, c)


async def all_commands_are_read_again(world: World) -> list[str]:
    """A decides and dies before anything is committed."""
    a = await begun(world)
    await world.send(world.join("mike"), world.leave("mike"))
    await a.take()
    await a.settle()
    await a.die()
    return await ended(world, await world.owner())


async def an_array_is_cut_in_the_middle(world: World) -> list[str]:
    """The event of an array's first command is on disk, that of its second is lost with A."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"), world.post("two"))
    await a.take()
    await a.events.let_through(1)
    await a.die()
    return await ended(world, await world.owner())


async def a_catch_up_begins_behind_a_claim(world: World) -> list[str]:
    """B has written its position; then A's events land, and the next owner folds from there."""
    a = await begun(world)
    a.events.hold()
    await world.send(world.post("one"))
    await world.send(world.post("two"))
    await a.take()
    b = await world.owner()
    await b.take(records=2)
    await b.flush()
    await b.die()
    a.events.release()
    await until(lambda: a.left or not len(a.partition.in_flight))
    return await ended(world, await world.owner())


async def a_partition_comes_back(world: World) -> list[str]:
    """A gives the partition away in good order, B decides, and A gets it back in the same process."""
    a = await begun(world)
    await a.close()
    b = await world.owner()
    await world.send(world.post("one"))
    await b.take()
    await b.close()
    await a.open()
    world.owners.append(a)
    await world.send(world.post("two"))
    return await ended(world, a)


TRACES: list[tuple[Trace, str]] = [
    (an_event_lands_behind_the_next_owners, "F1"),
    (a_repetition_is_answered_from_an_event_that_is_void, "F2 events"),
    (void_events_are_written_behind, "F2 events"),
    (a_repetition_is_answered_before_the_event_is_on_disk, "replies wait"),
    (the_stores_offset_jumps_over_the_next_owners_rows, "F2 changelog"),
    (a_late_head_replaces_a_newer_one, "F3"),
    (a_late_head_replaces_a_newer_one, "void rows are built anew"),
    (a_late_deletion_takes_a_newer_row, "a deletion has an epoch"),
    (an_owner_that_is_none_any_more_answers, "I9 cover"),
    (a_flush_is_cut_after_its_first_records, "position last"),
    (a_flush_is_cut_in_the_middle_of_a_groups_rows, "head last"),
    (a_flush_of_messages_is_cut, "head last"),
    (a_flush_whose_rows_are_lost_and_then_the_disk, "changelog first"),
    (all_commands_are_read_again, "skip what is decided"),
    (an_array_is_cut_in_the_middle, "a place has an index"),
    (a_catch_up_begins_behind_a_claim, "a position has an epoch"),
    (a_partition_comes_back, "drop caches"),
]


@pytest.mark.parametrize("trace", dict.fromkeys(trace for trace, _ in TRACES), ids=lambda trace: trace.__name__)
async def test_with_every_rule_nothing_is_wrong(world: World, trace: Trace) -> None:
    assert await trace(world) == []


@pytest.mark.parametrize(("trace", "rule"), TRACES, ids=lambda each: each if isinstance(each, str) else each.__name__)
async def test_without_the_rule_it_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, trace: Trace, rule: str
) -> None:
    switch_off(rule, monkeypatch.setattr)
    assert await trace(world) != []


async def test_a_ghost_claim_fences_the_rightful_owner_which_claims_anew_and_serves(world: World) -> None:
    ghost = world.unopened()
    ghost.events.hold()
    opening = asyncio.create_task(ghost.open())
    await until(ghost.events.held)
    b = await begun(world)
    await ghost.events.let_through(1)
    await ghost.die()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await world.send(world.post("one"))
    await b.take()
    await until(lambda: b.left)
    assert [type(why) for why in b.left] == [FencedError]
    await b.die()
    again = await world.owner(b.stores)
    assert await ended(world, again) == []
    assert not again.left
