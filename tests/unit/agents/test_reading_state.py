"""A group's state, of now or as of a seq, and its members in pages."""

import msgspec
import pytest

from app.domain.commands import AddMember, CreateGroup, DeleteGroup, Join, Leave, SetRole, UpdateGroup
from app.reads import ReadMembers, ReadState
from tests.support.counting_store import CountingStore, while_others_run
from tests.support.memory_store import MemoryStore
from tests.unit.agents.owner import Owner, by, post
from tests.unit.tables.test_large_groups import large, write


async def test_the_state_at_an_old_seq_is_without_what_is_known_of_now_only(owner: Owner) -> None:
    owner.ask(UpdateGroup(**by("ann"), name="second", topic="t"), Leave(**by("bob")), Join(**by("cyd")))
    owner.ask(SetRole(**by("ann"), user="cyd", role="admin"))
    answers = [await owner.read(ReadState(group="g", user="ann", end=0, at_seq=seq)) for seq in (2, 3, 5, 6)]
    states = [msgspec.json.decode(msgspec.json.encode(a.state)) for a in answers]
    assert states[0] == {
        "name": "first",
        "topic": "",
        "join": "open",
        "history": "all",
        "first": 1,
        "seq": 2,
        "members": [{"user": "ann", "role": "owner"}, {"user": "bob", "role": "member"}],
    }
    assert (states[1]["name"], states[1]["topic"], states[1]["seq"]) == ("second", "t", 3)
    assert states[2]["members"] == [{"user": "ann", "role": "owner"}, {"user": "cyd", "role": "member"}]
    # At the head it is the state of now.
    assert states[3]["members"][1] == {"user": "cyd", "role": "admin", "read": 5}
    assert states[3]["online"] == []


async def test_a_seq_that_is_none_of_this_life_is_invalid(owner: Owner) -> None:
    first = owner.ask(DeleteGroup(**by("ann")), CreateGroup(**by("ann"), name="n"))
    for seq in (0, first - 1, first + 1, 2**53 - 1):
        refusal = (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=seq))).refusal
        assert refusal is not None
        assert (refusal.code, refusal.field) == ("invalid", "at_seq")
    assert (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=first))).refusal is None


async def test_the_state_at_a_withheld_seq_is_forbidden(owner: Owner) -> None:
    owner.ask(UpdateGroup(**by("ann"), history="joined"), post("one"), Join(**by("cyd")), post("two"))
    withheld, all_saw, own = [
        await owner.read(ReadState(group="g", user="cyd", end=0, at_seq=seq)) for seq in (4, 2, 5)
    ]
    assert withheld.refusal is not None
    assert (withheld.refusal.code, withheld.state) == ("forbidden", None)
    assert all_saw.state is not None
    assert own.state is not None


async def test_members_come_in_pages_in_the_order_of_joining_whoever_leaves_meanwhile(owner: Owner) -> None:
    owner.ask(*(AddMember(**by("ann"), user=f"u{n}") for n in (3, 1, 2)), SetRole(**by("ann"), user="u3", role="admin"))
    first = await owner.read(ReadMembers(group="g", user="bob", end=0, limit=2))
    assert first.cursor is not None
    owner.ask(Leave(**by("bob")))
    second = await owner.read(ReadMembers(group="g", user="ann", end=0, limit=2, cursor=first.cursor))
    third = await owner.read(ReadMembers(group="g", user="ann", end=0, limit=2, cursor=second.cursor))
    assert [[m.user for m in page.members] for page in (first, second, third)] == [["ann", "bob"], ["u3", "u1"], ["u2"]]
    assert third.cursor is None
    assert [(m.role, m.read) for m in second.members] == [("admin", 3), ("member", 4)]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.x", "-1.5", " 1 . 2", "1_0.0", "9" * 5_000])
async def test_a_cursor_that_no_answer_gave_is_invalid(owner: Owner, cursor: str) -> None:
    refusal = (await owner.read(ReadMembers(group="g", user="ann", end=0, cursor=cursor))).refusal
    assert refusal is not None
    assert (refusal.code, refusal.field) == ("invalid", "cursor")


async def test_members_of_a_creation_are_paged_by_their_place_and_a_page_has_an_end() -> None:
    groups = MemoryStore()
    write(groups, large(members=2_500))
    owner, seen, cursor = Owner(groups), [], None
    while seen == [] or cursor is not None:
        page = await owner.read(ReadMembers(group="g", user="user-00000", end=0, limit=9_999, cursor=cursor))
        assert len(page.members) <= 1_000
        seen, cursor = [*seen, *(m.user for m in page.members)], page.cursor
    assert seen == [f"user-{n:05}" for n in range(2_500)]


async def test_a_read_of_a_large_group_does_not_hold_the_loop() -> None:
    groups = CountingStore(MemoryStore())
    write(groups, large(members=20_000))
    owner = Owner(groups)
    said, most = await while_others_run(owner.read(ReadState(group="g", user="user-00007", end=0)), groups)
    assert said.state is not None
    assert (len(said.state.members), said.state.members_more) == (1_000, True)
    assert most < 3_000
