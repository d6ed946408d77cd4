"""What a worker tells its operators of a group: state, members and events, of now or of then, and no text."""

import asyncio

import msgspec
import pytest

from agents.inspection import inspector as inspector_module
from app.domain.commands import Join, MemberSpec, RemoveMember
from app.domain.evolve import evolve
from app.domain.outcomes import Rejection
from app.domain.state import Group
from app.inspection import PAGE_EVENTS, PAGE_MEMBERS, GroupQuery
from tests.unit.agents.inspected import Worker
from tests.unit.agents.test_partition import create, post


async def test_each_state_of_then_is_the_fold_of_the_events_up_to_it() -> None:
    worker = Worker()
    await worker.do(
        [create(), Join(id="j", group="g", by="mike"), post("a", by="mike"), Join(id="k", group="g", by="zoe")],
        [RemoveMember(id="r", group="g", by="olga", user="mike", ban=True), post("b")],
    )
    plain = Group("g")
    for event in worker.events():
        evolve(plain, event)
        view = await worker.group(at_seq=event.seq)
        assert (view.seq, view.head, view.at) == (event.seq, 6, event.at)
        assert [(m.user, m.role, m.joined) for m in view.members] == [
            (user, m.role, m.joined) for user, m in plain.members.items()
        ]
        assert view.banned == sorted(plain.banned)
        assert [e.seq for e in view.events] == list(range(event.seq, 0, -1))


@pytest.mark.parametrize("at_seq", [3, 10_000])
async def test_a_seq_beyond_the_head_is_refused(at_seq: int) -> None:
    worker = Worker()
    await worker.do([create(), post("a")])
    refusal = await worker.inspector.group(GroupQuery(group="g", at_seq=at_seq))
    assert isinstance(refusal, Rejection)
    assert (refusal.code, refusal.field) == ("invalid", "at_seq")


async def test_a_group_that_never_was_is_not_there() -> None:
    refusal = await Worker().inspector.group(GroupQuery(group="g"))
    assert isinstance(refusal, Rejection)
    assert refusal.code == "no_such_group"


async def test_members_come_in_pages_of_a_bounded_size_each_once() -> None:
    count = 2 * PAGE_MEMBERS + 3
    worker = Worker()
    await worker.do([create(members=tuple(MemberSpec(f"u{n}") for n in range(count - 1)))])
    pages = [await worker.group()]
    while (start := pages[-1].next_members) is not None:
        pages.append(await worker.group(members=start))
    assert [len(p.members) for p in pages] == [PAGE_MEMBERS, PAGE_MEMBERS, 3]
    assert {p.members_total for p in pages} == {count}
    users = [m.user for p in pages for m in p.members]
    assert users == ["olga", *(f"u{n}" for n in range(count - 1))]
    assert (await worker.group(members=count)).members == []


async def test_the_banned_are_cut_and_counted() -> None:
    count = PAGE_MEMBERS + 5
    worker = Worker()
    bans = [RemoveMember(id=f"{n}", group="g", by="olga", user=f"u{n:03}", ban=True) for n in range(count)]
    await worker.do([create(), *bans])
    view = await worker.group()
    assert (len(view.banned), view.banned_total) == (PAGE_MEMBERS, count)


async def test_events_come_in_pages_backwards_each_once() -> None:
    worker = Worker()
    await worker.do([create(), *(post(f"{n}") for n in range(2 * PAGE_EVENTS))])
    pages = [await worker.group()]
    while (at_seq := pages[-1].earlier) is not None:
        pages.append(await worker.group(at_seq=at_seq))
    assert [len(p.events) for p in pages] == [PAGE_EVENTS, PAGE_EVENTS, 1]
    assert [e.seq for p in pages for e in p.events] == list(range(2 * PAGE_EVENTS + 1, 0, -1))


async def test_what_is_not_on_disk_is_not_told() -> None:
    worker = Worker()
    await worker.world.send(0, create())
    asked = asyncio.create_task(worker.group())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not asked.done()
    worker.world.broker.deliver()
    assert (await asked).seq == 1


async def test_a_question_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector_module, "ANSWER_S", 0.01)
    worker = Worker()
    await worker.world.send(0, create())
    refusal = await worker.inspector.group(GroupQuery(group="g"))
    assert isinstance(refusal, Rejection)
    assert (refusal.code, refusal.temporary) == ("timeout", True)


async def test_no_text_is_in_any_view() -> None:
    worker = Worker()
    secret = "what was said in confidence"
    await worker.do([create(), msgspec.structs.replace(post("k"), text=secret)])
    event = worker.events()[1]
    views = [await worker.group(), await worker.search("k", group="g"), await worker.search(event.id)]
    assert secret not in repr(views)
    assert all("k" in repr(view) for view in views)
