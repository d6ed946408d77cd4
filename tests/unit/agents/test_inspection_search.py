"""What a worker finds by an id, whatever the id is of, and how it says where else to look."""

import string

import pytest

from agents.inspection import search as search_module
from agents.inspection.search import EventId, parse_event_id
from app.domain.commands import CreateGroup, Join
from app.inspection import Found
from app.log.records import CommandPlace, EventRecord
from tests.unit.agents.inspected import URL, Worker, flush, owner
from tests.unit.agents.test_partition import EPOCH, create, post


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("commands.3.41.0", EventId("commands", 3, CommandPlace(41, 0))),
        ("a.b.3.41.12", EventId("a.b", 3, CommandPlace(41, 12))),
        ("commands.3.41", None),
        ("commands.3.41.x", None),
        ("commands.3.-1.0", None),
        (".3.41.0", None),
        ("commands.٣.41.0", None),
        ("g", None),
    ],
)
def test_an_events_id_names_its_commands_place(text: str, parsed: EventId | None) -> None:
    assert parse_event_id(text) == parsed


async def test_every_event_is_found_by_its_id_among_many() -> None:
    worker = Worker()
    await worker.do([create(), *(post(f"{n}") for n in range(5))], *([post(f"r{n}"), post(f"s{n}")] for n in range(9)))
    for event in worker.events():
        view = await worker.search(event.id, group="g")
        assert [(f.what, f.event.seq if f.event else 0) for f in view.found] == [("event", event.seq)]


async def test_an_events_group_is_known_from_its_command_as_long_as_that_is_kept() -> None:
    worker = Worker()
    await worker.do([create(), post("a")])
    event_id = worker.events()[1].id
    assert (await worker.search(event_id)).found == []
    assert "the group must be named" in repr((await worker.search(event_id)).looked)
    worker.broker.commands[0, 0, 1] = post("a")
    (found,) = (await worker.search(event_id)).found
    assert (found.what, found.group) == ("event", "g")
    assert found.event is not None
    assert (found.event.seq, found.event.command_id) == (2, "a")


async def test_a_command_without_an_event_is_said_to_be_one() -> None:
    worker = Worker()
    refused = Join(id="refused", group="g", by="olga")
    await worker.do([create()], [refused])
    worker.broker.commands[0, 1, 0] = refused
    (found,) = (await worker.search("commands.0.1.0")).found
    assert (found.what, found.group) == ("command", "g")
    assert found.note is not None
    assert found.note.startswith("join by olga, id refused: no event")


async def test_an_id_of_an_earlier_commands_topic_is_said_to_be_one() -> None:
    worker = Worker()
    await worker.do([create()])
    view = await worker.search("other.0.0.0", group="g")
    assert view.found == []
    assert "not the one of now" in view.looked[0]


async def test_a_commands_id_is_found_among_the_newest_records() -> None:
    worker = Worker()
    await worker.do([create(), post("a")])
    event = worker.events()[1]
    record = EventRecord(
        offset=12, epoch=EPOCH, group="g", seq=2, kind=event.kind, command_id="the-command",
        command_topic_id="commands", place=CommandPlace(0, 1), value=b"",
    )  # fmt: skip
    worker.broker.newest = [(0, record)]
    for view in (await worker.search("the-command"), await worker.search("the-command", group="g")):
        (found,) = view.found
        assert found.event is not None
        assert (found.event.seq, found.event.command_id, found.event.offset) == (2, "the-command", 12)
    shown = (await worker.group()).events
    assert [(e.seq, e.command_id) for e in shown] == [(2, "the-command"), (1, None)]


async def test_a_key_is_found_in_its_group_whoever_used_it() -> None:
    worker = Worker()
    await worker.do(
        [create(), Join(id="j", group="g", by="mike"), post("k", by="mike"), post("k", by="olga"), post("l")]
    )
    view = await worker.search("k", group="g")
    assert [(f.event.seq, f.event.by) for f in view.found if f.event] == [(3, "mike"), (4, "olga")]


async def test_an_id_may_be_a_groups_and_a_users_at_once() -> None:
    worker = Worker()
    await worker.do([CreateGroup(id="c", group="olga", by="olga", name="n"), create()])
    flush(worker.world)
    found = (await worker.search("olga")).found
    assert [(f.what, f.group) for f in found] == [("group", "olga"), ("member", "g"), ("member", "olga")]


async def test_a_users_groups_come_in_bounded_looks_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "SCAN_GROUPS", 3)
    worker = Worker()
    names = [*string.ascii_lowercase[:8], "a b", "a!", "aa", "ü"]
    olgas = names[::2]
    await worker.do(
        [CreateGroup(id=n, group=n, by="olga" if n in olgas else "mike", name=n) for n in names],
    )
    flush(worker.world)
    found: list[Found] = []
    looks, cursor = 0, None
    while looks == 0 or cursor is not None:
        view = await worker.search("olga", cursor=cursor)
        found, cursor, looks = found + view.found, view.cursor, looks + 1
        assert looks < 10
    assert sorted(f.group for f in found) == sorted(olgas)
    assert {(f.role, f.joined) for f in found} == {("owner", 1)}
    assert looks == 5


async def test_a_full_page_is_cut_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "PAGE_FOUND", 2)
    worker = Worker()
    await worker.do([CreateGroup(id=n, group=n, by="olga", name=n) for n in "abc"])
    flush(worker.world)
    first = await worker.search("olga")
    assert [f.group for f in first.found] == ["a", "b"]
    assert [f.group for f in (await worker.search("olga", cursor=first.cursor)).found] == ["c"]


@pytest.mark.parametrize("cursor", ["", ".", "x", "999999999.g", "-1.g", "0", "7."])
async def test_a_cursor_that_is_none_hurts_nobody(cursor: str) -> None:
    assert (await Worker().search("olga", cursor=cursor)).found == []


async def test_a_search_names_the_other_workers_and_what_they_would_know() -> None:
    worker = Worker(partitions=5)  # of which it opens the last one only now
    worker.broker.records = [
        owner("processor-0", URL), owner("processor-1", "http://one"), owner("processor-2", "http://two"),
        owner("processor-1", "http://one"), owner("processor-0", URL),
    ]  # fmt: skip
    leads = (await worker.search("x")).leads
    assert [(lead.worker, lead.url) for lead in leads] == [("processor-1", "http://one"), ("processor-2", "http://two")]
    assert "partitions 1, 3" in leads[0].what
    assert sum("would be in" in lead.what for lead in leads) == 1
