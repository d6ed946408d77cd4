"""What a worker tells its operators, from partitions that need no broker; the broker's part is `FakeBroker`."""

import asyncio
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from agents.inspection import inspector as inspector_module
from agents.inspection import search as search_module
from agents.inspection.broker import Places, now_ms
from agents.inspection.here import Here
from agents.inspection.inspector import WorkerInspector
from agents.inspection.search import EventId, parse_event_id
from agents.partition import Partition
from app.domain.commands import AnyCommand, CreateGroup, Join, MemberSpec, RemoveMember
from app.domain.events import Event
from app.domain.evolve import evolve
from app.domain.outcomes import Rejection
from app.domain.state import Group
from app.inspection import (
    PAGE_EVENTS,
    PAGE_MEMBERS,
    Elsewhere,
    Found,
    GroupQuery,
    GroupView,
    SearchQuery,
    SearchView,
)
from app.kafka.consumer import ReadError
from app.kafka.topics import Layout
from app.log.records import CommandPlace, EventRecord
from app.owners import Owners
from app.reads import OwnerRecord
from tests.unit.agents.test_partition import EPOCH, World, create, post

URL = "http://here:1"


@dataclass
class FakeBroker:
    """`agents.inspection.broker.Broker` that says what a test gives it; all empty by default."""

    partitions: int
    owners: Owners = field(init=False)
    records: list[OwnerRecord] = field(default_factory=list)
    told: Places | None = field(default_factory=lambda: Places(committed={}, ends={}))
    since: dict[int, int] = field(default_factory=dict)
    commands: dict[tuple[int, int, int], AnyCommand] = field(default_factory=dict)
    newest: list[tuple[int, EventRecord]] = field(default_factory=list)
    asked_instants: list[dict[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owners = Owners(self.partitions, "log")

    async def learn_owners(self) -> None:
        for number, record in enumerate(self.records):
            self.owners.learn(number, record)

    async def places(self) -> Places:
        if self.told is None:
            raise ReadError("away")
        return self.told

    async def instants(self, places: dict[int, int]) -> dict[int, int]:
        self.asked_instants.append(places)
        return {number: self.since[number] for number in places if number in self.since}

    async def command(self, partition: int, offset: int, index: int) -> AnyCommand | None:
        return self.commands.get((partition, offset, index))

    async def newest_events(
        self, epochs: dict[int, int], count: int, wanted: Callable[[EventRecord], bool]
    ) -> list[tuple[int, EventRecord]]:
        return [(number, record) for number, record in self.newest if number in epochs and wanted(record)]


@dataclass
class Worker:
    """A worker with one partition that serves, number 0, of `partitions`."""

    partitions: int = 1
    world: World = field(default_factory=World)
    stopped: dict[int, str] = field(default_factory=dict)
    assigned: set[int] = field(default_factory=lambda: {0})

    def __post_init__(self) -> None:
        self.broker = FakeBroker(self.partitions)
        layout = Layout(self.partitions, "log", "commands")
        here = Here("processor-0", URL, layout, self.owned, lambda: self.assigned, lambda: self.stopped)
        self.inspector = WorkerInspector(here, cast("Any", self.broker))

    def owned(self, number: int) -> Partition | None:
        return self.world.partition if number == 0 else None

    async def do(self, *records: list[Any]) -> None:
        """Decide records of commands and deliver the events."""
        for offset, commands in enumerate(records):
            await self.world.send(offset, *commands)
        self.world.broker.deliver()

    async def group(self, group: str = "g", **query: int) -> GroupView:
        view = await self.inspector.group(GroupQuery(group=group, **query))
        assert isinstance(view, GroupView)
        return view

    async def search(self, id_: str, group: str | None = None, cursor: str | None = None) -> SearchView:
        view = await self.inspector.search(SearchQuery(id=id_, group=group, cursor=cursor))
        assert isinstance(view, SearchView)
        return view

    def events(self) -> list[Event]:
        return [e["event"] for e in self.world.broker.events]


def owner(worker: str, url: str, epoch: int = 5) -> OwnerRecord:
    return OwnerRecord(url=url, epoch=epoch, offset=epoch + 1, worker=worker, log="log")


# Partitions


async def test_an_open_partition_is_told_with_its_figures() -> None:
    worker = Worker()
    worker.broker.told = Places(committed={0: 1}, ends={0: 3})
    await worker.do([create(), post("a")], [post("b")])
    await worker.world.send(2, post("under way"), post("too"))

    view = await worker.inspector.cluster()

    (told,) = view.partitions
    assert (told.state, told.reason, told.committed, told.end, told.lag) == ("open", None, 1, 3, 2)
    served = told.served
    assert served is not None
    assert (served.epoch, served.next_event_offset) == (EPOCH, EPOCH + 4)
    assert (served.decided_offset, served.decided_index, served.in_flight) == (2, 1, 2)
    assert (served.groups_in_memory, served.unwritten > 0, served.last_flush) == (1, True, None)
    assert served.rows == {"groups": 0, "history": 0}
    assert (view.worker, view.url, view.faults) == ("processor-0", URL, [])


async def test_the_oldest_command_without_an_answer_is_one_under_way_or_one_not_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    await worker.do([create()])
    worker.broker.told = Places(committed={0: None}, ends={0: 1})  # decided, and not committed yet
    worker.broker.since = {0: now_ms() - 60_000}

    async def oldest_s() -> float | None:
        return (await worker.inspector.cluster()).partitions[0].oldest_unanswered_s

    assert await oldest_s() == 0
    monkeypatch.setattr(worker.world.partition.in_flight, "age_s", lambda: 7.5)
    assert await oldest_s() == 7.5
    worker.broker.told = Places(committed={0: 1}, ends={0: 4})
    assert await oldest_s() == pytest.approx(60, abs=30)
    assert worker.broker.asked_instants == [{}, {}, {0: 1}]


async def test_a_partition_that_is_not_open_is_told_as_what_it_is() -> None:
    worker = Worker(partitions=4, assigned={0, 1, 2}, stopped={2: "beyond the end"})
    worker.broker.told = Places(committed=dict.fromkeys(range(4)), ends=dict.fromkeys(range(4), 9))
    worker.broker.records = [owner("processor-0", URL), *(owner("processor-1", "http://there") for _ in range(3))]
    worker.broker.since = {1: now_ms() - 60_000}

    partitions = (await worker.inspector.cluster()).partitions

    assert [(p.state, p.reason) for p in partitions] == [
        ("open", None), ("opening", None), ("stopped", "beyond the end"), (None, None),
    ]  # fmt: skip
    assert [p.served is not None for p in partitions] == [True, False, False, False]
    assert [p.lag for p in partitions] == [9, 9, 9, 9]
    assert partitions[1].oldest_unanswered_s == pytest.approx(60, abs=30)
    assert partitions[3].oldest_unanswered_s is None
    assert partitions[3].owner is not None
    assert (partitions[3].owner.worker, partitions[3].owner.url) == ("processor-1", "http://there")


async def test_what_the_broker_does_not_say_is_left_out_and_said_to_be() -> None:
    worker = Worker()
    worker.broker.told = None

    view = await worker.inspector.cluster()

    assert [(p.end, p.lag, p.committed) for p in view.partitions] == [(None, None, None)]
    (fault,) = view.faults
    assert "away" in fault
    assert view.partitions[0].served is not None


async def test_a_flush_is_told_with_its_rows_and_its_age() -> None:
    worker = Worker()
    await worker.do([create()])
    written: list[int] = []

    class Written:
        async def flush(self, snapshot: Any, _position: Any) -> None:
            written.append(len(snapshot))

    worker.world.partition._flusher._write_behind = cast("Any", Written())
    await worker.world.partition._flusher.flush()

    served = (await worker.inspector.cluster()).partitions[0].served
    assert served is not None
    assert served.last_flush is not None
    assert served.last_flush.rows == written[0] > 0
    assert served.last_flush.age_s >= 0
    assert served.last_flush.took_s >= 0


# A group


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


# Whose it is


OTHERS = "g"  # a group of partition 1 of 2


@pytest.mark.parametrize(
    "query", [GroupQuery(group=OTHERS), SearchQuery(id="k", group=OTHERS), SearchQuery(id="commands.1.0.0")]
)
async def test_what_another_worker_owns_is_there(query: GroupQuery | SearchQuery) -> None:
    worker = Worker(partitions=2)
    worker.broker.records = [owner("processor-0", URL), owner("processor-1", "http://there:1")]
    ask = worker.inspector.group if isinstance(query, GroupQuery) else worker.inspector.search
    assert await ask(cast("Any", query)) == Elsewhere("http://there:1")
    assert worker.inspector.urls() == {URL, "http://there:1"}


@pytest.mark.parametrize(
    "records",
    [
        [],
        [owner("processor-0", URL), owner("processor-0", URL)],
        [owner("processor-0", URL), owner("evil", "javascript:alert(1)")],
    ],
)
async def test_nobody_is_led_in_a_circle_or_out_of_the_web(records: list[OwnerRecord]) -> None:
    worker = Worker(partitions=2)
    worker.broker.records = records
    refusal = await worker.inspector.group(GroupQuery(group=OTHERS))
    assert isinstance(refusal, Rejection)
    assert (refusal.code, refusal.temporary) == ("unavailable", True)
    assert worker.inspector.urls() <= {URL}


async def test_a_closed_partition_is_not_asked() -> None:
    worker = Worker()
    await worker.do([create()])
    worker.world.partition.serving = False
    refusal = await worker.inspector.group(GroupQuery(group="g"))
    assert isinstance(refusal, Rejection)
    assert refusal.code == "unavailable"


# Ids


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


def flush(world: World) -> None:
    """Write what changed to the stores, as a flush does."""
    tables = world.partition.tables
    snapshot = tables.snapshot(EPOCH)
    tables.stores["groups"].write(snapshot.groups, 0)
    tables.stores["history"].write(snapshot.history, 0)
    tables.written()
