"""Whom an owner answers, and only from what is on disk and its own."""

import asyncio
from typing import Any

import msgspec
import pytest

from app.domain.commands import AddMember, CreateGroup, Delete, DeleteGroup, Edit, PruneHistory, RemoveMember
from app.reads import Answer, ReadEvents, ReadMembers, ReadMessages, ReadState, ReadSubscription
from tables import rows
from tests.support.memory_store import MemoryStore
from tests.unit.agents.owner import Owner, by, post


@pytest.mark.parametrize("kind", [ReadState, ReadMembers, ReadMessages, ReadSubscription])
async def test_who_is_no_member_is_told_nothing(owner: Owner, kind: Any) -> None:
    owner.ask(post(), RemoveMember(**by("ann"), user="bob", ban=True))
    codes = {}
    for group, user in (("g", "zoe"), ("g", "bob"), ("none", "ann")):
        said = await owner.read(kind(group=group, user=user, end=0))
        assert said.refusal is not None
        assert said == Answer(refusal=said.refusal, epoch=3, offset=40, seq=said.seq)
        codes[group, user] = said.refusal.code
    assert codes == {("g", "zoe"): "not_a_member", ("g", "bob"): "banned", ("none", "ann"): "no_such_group"}


async def test_an_outside_authority_reads_all_of_the_current_life_and_nothing_before_it(owner: Owner) -> None:
    owner.ask(post("old"), DeleteGroup(**by("ann")))
    first = owner.ask(CreateGroup(**by("ann"), name="n", history="joined"))
    owner.ask(post("one"), AddMember(**by("ann"), user="bob"), post("two"), RemoveMember(**by("ann"), user="bob"))
    page = await owner.read(ReadMessages(group="g", user=None, end=0))
    assert [msgspec.json.decode(item)["text"] for item in page.messages] == ["one", "two"]
    assert (page.oldest, page.refusal) == (first, None)
    owner.ask(PruneHistory(**by(None), through=first + 1))
    page = await owner.read(ReadMessages(group="g", user=None, end=0))
    assert ([msgspec.json.decode(item)["text"] for item in page.messages], page.oldest) == (["two"], first + 2)
    state = await owner.read(ReadState(group="g", user=None, end=0, at_seq=first))
    assert state.state is not None


async def test_an_outside_authority_is_told_of_no_group_that_is_not_there(owner: Owner) -> None:
    owner.ask(post("old"), DeleteGroup(**by("ann")))
    for group in ("g", "none"):
        said = await owner.read(ReadMessages(group=group, user=None, end=0))
        assert said.refusal is not None
        assert (said.refusal.code, said.messages) == ("no_such_group", [])


async def test_a_page_that_saw_a_later_deletion_waits_until_that_is_on_disk(owner: Owner) -> None:
    owner.ask(post("one"))
    owner.log.at_once = False
    asked = asyncio.create_task(owner.read(ReadMessages(group="g", user="ann", end=0)))
    await asyncio.sleep(0)
    owner.ask(Delete(**by("ann"), seq=3))
    owner.log.deliver()  # what was appended when the read came
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.done()
    owner.log.deliver()
    said = await asked
    assert (said.seq, [msgspec.json.decode(item)["text"] for item in said.messages]) == (3, [None])


async def test_an_event_that_is_missing_is_said_to_be_loading(owner: Owner) -> None:
    owner.ask(post("one"), Edit(**by("ann"), seq=3, text="two"), post("three"))
    snapshot = owner.tables.snapshot(1)
    gone = {rows.event_key("g", seq) for seq in (1, 4)}
    for name, changes in (("groups", snapshot.groups), ("history", snapshot.history)):
        owner.tables.stores[name].write([change for change in changes if change[0] not in gone], 0)
    owner.tables.written()
    for read in (
        ReadMessages(group="g", user="ann", end=0),
        ReadEvents(group="g", user="ann", end=0, after=2, through=4),
        ReadEvents(group="g", user="ann", end=0, after=2, through=5),
        ReadState(group="g", user="ann", end=0, at_seq=2),
    ):
        assert await owner.read(read) == Answer(missing="loading")


async def test_a_partition_that_is_taken_away_while_it_is_read_does_not_fail() -> None:
    class Closed(MemoryStore):
        def get(self, key: bytes) -> bytes | None:
            owner.serving = False
            raise OSError("the database is closed")

    owner = Owner(Closed())
    assert await owner.read(ReadState(group="g", user="ann", end=0)) == Answer(missing="not_owner")
    assert owner.failed == []
