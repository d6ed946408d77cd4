"""Replays and where subscriptions begin: which events are served, in which pages, and what stands for the others."""

import msgspec

from app.domain.commands import CreateGroup, Delete, DeleteGroup, Edit, Join, Leave, PruneHistory, UpdateGroup
from app.reads import PAGE_EVENTS, ReadEvents, ReadMessages, ReadState, ReadSubscription
from tests.unit.agents.owner import LOG, Owner, by, post


async def test_a_replay_redacts_a_deleted_message_and_its_edits_and_nothing_else(owner: Owner) -> None:
    owner.ask(post("one"), Edit(**by("ann"), seq=3, text="two"), post("three"))
    before = await owner.read(ReadEvents(group="g", user="bob", end=0, after=2, through=9))
    owner.ask(Delete(**by("ann"), seq=3))
    after = await owner.read(ReadEvents(group="g", user="bob", end=0, after=2, through=9))
    begun = await owner.read(ReadSubscription(group="g", user="bob", end=0, after=2, log=LOG))
    assert begun.frames == after.frames
    frames = [msgspec.json.decode(frame) for frame in after.frames]
    assert [frame["data"] for frame in frames[:2]] == [{"text": None, "deleted": True}] * 2
    assert after.frames[2] == before.frames[2]
    for old, new in zip(before.frames, frames[:2], strict=False):
        assert {**msgspec.json.decode(old), "data": new["data"]} == new


async def test_what_is_pruned_is_not_served_and_who_missed_it_is_told(owner: Owner) -> None:
    owner.ask(
        *(post(str(n)) for n in range(6)), PruneHistory(**by(None), through=5), Edit(**by("ann"), seq=7, text="e")
    )
    assert [item["seq"] for item in await owner.messages(limit=200)] == [6, 7, 8]
    assert await owner.messages(before=6) == []
    assert await owner.subscribe(after=3) == (6, False, [6, 7, 8, 9, 10])
    assert await owner.subscribe(after=5) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(after=0) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(last=99) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(last=2) == (9, True, [9, 10])
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=0, through=7))
    assert [msgspec.json.decode(frame)["seq"] for frame in page.frames] == [6, 7]
    assert (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=2))).state is not None


async def test_the_edit_of_a_message_that_was_pruned_has_no_text(owner: Owner) -> None:
    owner.ask(
        post("old"), post("new"), Edit(**by("ann"), seq=3, text="old, edited"), Edit(**by("ann"), seq=4, text="e")
    )
    owner.ask(PruneHistory(**by(None), through=3))
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=3, through=6))
    data = [msgspec.json.decode(frame)["data"] for frame in page.frames]
    assert data == [{"text": "new"}, {"text": None, "deleted": True}, {"target": 4, "text": "e"}]


async def test_nothing_of_an_earlier_life_is_served(owner: Owner) -> None:
    first = owner.ask(post("old"), DeleteGroup(**by("ann")), CreateGroup(**by("ann"), name="n"))
    head = owner.ask(post("new"))
    assert [item["text"] for item in await owner.messages()] == ["new"]
    assert await owner.messages(before=first) == []
    assert await owner.subscribe(after=2) == (first, False, [first, head])
    assert await owner.subscribe(after=first - 1) == (first, True, [first, head])
    assert await owner.subscribe(after=0) == (first, True, [first, head])
    assert await owner.subscribe(last=9) == (first, True, [first, head])
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=1, through=head))
    assert [msgspec.json.decode(frame)["seq"] for frame in page.frames] == [first, head]
    owner.ask(PruneHistory(**by(None), through=head))
    assert await owner.subscribe(after=first - 1) == (head + 1, True, [head + 1])
    assert await owner.subscribe(after=first) == (head + 1, False, [head + 1])


async def test_where_a_subscription_begins(owner: Owner) -> None:
    owner.ask(post("a"), post("b"))
    assert await owner.subscribe() == (5, True, [])
    assert await owner.subscribe(after=4) == (5, True, [])
    assert await owner.subscribe(after=2) == (3, True, [3, 4])
    assert await owner.subscribe(after=5) == (5, False, [])
    assert await owner.subscribe(last=0) == (5, True, [])
    elsewhere = ReadSubscription(group="g", user="ann", end=0, after=2, log="another log")
    begun = await owner.read(elsewhere)
    assert (begun.start, begun.recovered, begun.frames) == (5, False, [])


async def test_what_may_not_be_read_is_one_frame_in_its_place_and_does_not_count(owner: Owner) -> None:
    owner.ask(
        UpdateGroup(**by("ann"), history="joined"), Leave(**by("bob")), post("away"), Join(**by("bob")), post("back")
    )
    begun = await owner.read(ReadSubscription(group="g", user="bob", end=0, last=4, log=LOG))
    frames = [msgspec.json.decode(frame) for frame in begun.frames]
    assert frames[2] == {"type": "withheld", "group": "g", "from": 5, "through": 5}
    assert [frame.get("seq") for frame in frames] == [3, 4, None, 6, 7]
    assert [item["text"] for item in await owner.messages("bob")] == ["back"]
    assert begun.through == 7


async def test_pages_of_events_join_without_a_gap(owner: Owner) -> None:
    head = owner.ask(*(post(str(n)) for n in range(1_100)))
    seen, through = [], 0
    while through < head:
        page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=through, through=head))
        assert 0 < len(page.frames) <= PAGE_EVENTS
        seen += [msgspec.json.decode(frame)["seq"] for frame in page.frames]
        through = page.through
    assert seen == list(range(1, head + 1))


async def test_pages_of_long_messages_are_cut_by_their_bytes(owner: Owner) -> None:
    head = owner.ask(*(post(f"{n} " + "x" * 16_000) for n in range(40)))
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=2, through=head))
    assert len(page.frames) == page.through - 2 < 40
    items = await owner.read(ReadMessages(group="g", user="ann", end=0, limit=200))
    assert len(items.messages) < 40
    assert items.more
    assert sum(len(bytes(item)) for item in items.messages) < 300_000
