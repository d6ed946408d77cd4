"""Groups of 50,000 members and of 1,000,000 events: the loop is never held, and memory has a bound."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from agents.pages import events_page, messages_page, view_of
from app.domain.events import Event, GroupCreated, MemberJoined, NewMember, encode_event
from app.domain.evolve import evolve
from app.domain.instants import to_text
from app.domain.spans import last_of
from app.domain.state import Group, Member, Sent
from app.reads import PAGE_EVENTS, ReadMessages
from tables import group_rows, rows
from tables import history_rows as keys
from tables.history import History
from tables.history_rows import BLOCK_SEQS, Marks
from tables.loaded_groups import SLICE_ROWS
from tables.partition_tables import PartitionTables
from tables.past_states import PastStates
from tables.store import RocksStore, Store
from tests.support.counting_store import CountingStore, while_others_run
from tests.support.memory_store import MemoryStore
from tests.unit.domain.strategies import FIRST_MS
from tests.unit.tables.conftest import MakeStore, open_database

MEMBERS = 50_000
EVENTS = 1_000_000


def large(group_id: str = "g", members: int = MEMBERS) -> Group:
    group = Group(group_id, seq=members, first=1, life="alive", name="n", rules=[(1, "all")])
    for n in range(members):
        group.members[f"user-{n:05}"] = Member("member", n // 2 + 1, n % 2)
    for n in range(members // 10):
        group.sent["user-00001", f"key-{n}"] = Sent(n + 1, FIRST_MS, "digest")
    return group


def write(store: Store, group: Group) -> None:
    parts = [("rule", "1"), *(("member", user) for user in group.members), *(("sent", *key) for key in group.sent)]
    store.write(list(group_rows.part_rows(group, parts, epoch=1)), 0)


async def test_a_group_of_50_000_members_is_loaded_in_slices_between_which_others_run(make_store: MakeStore) -> None:
    groups = CountingStore(make_store())
    write(groups, large())
    tables = PartitionTables(groups, MemoryStore())
    assert tables.needs_load("g")
    state, most = await while_others_run(tables.load("g"), groups)
    assert state == large()
    assert list(state.members) == list(large().members)
    assert most <= SLICE_ROWS + 1  # and the head, which tells that it is large
    assert not tables.needs_load("g")
    assert tables.group("g") is state


async def test_who_asks_for_a_group_that_is_being_loaded_waits_for_that() -> None:
    groups = CountingStore(MemoryStore())
    write(groups, large(members=5_000))
    tables = PartitionTables(groups, MemoryStore())
    first, second = await asyncio.gather(tables.load("g"), tables.load("g"))
    assert first is second
    assert groups.read < 2 * 5_000


async def test_a_load_whose_caller_gave_up_is_taken_over_by_who_waits() -> None:
    groups = MemoryStore()
    write(groups, large(members=9_000))
    tables = PartitionTables(groups, MemoryStore())
    impatient, patient = (asyncio.create_task(tables.load("g")) for _ in "ab")
    await asyncio.sleep(0)
    impatient.cancel()
    assert len((await patient).members) == 9_000


async def test_a_group_that_was_changed_while_it_was_loaded_is_the_changed_one() -> None:
    groups = MemoryStore()
    write(groups, large(members=9_000))
    tables = PartitionTables(groups, MemoryStore(), row_capacity=0)
    loading = asyncio.create_task(tables.load("g"))
    await asyncio.sleep(0)
    joined = MemberJoined(user="aaa", role="member")
    event = Event(group="g", seq=9_001, id="e", kind=joined.kind, by="aaa", at=to_text(FIRST_MS), data=joined)
    tables.apply(event, encode_event(event))
    groups.write(tables.snapshot(1).groups, 0)
    tables.written()
    tables.group("another")  # now `g` is evicted, and half of it was read before it changed
    state = await loading
    assert (state.seq, "aaa" in state.members) == (9_001, True)


@pytest.mark.parametrize("members", [0, 1, 100])
async def test_a_small_group_is_loaded_at_once(members: int) -> None:
    groups = MemoryStore()
    write(groups, large(members=members))
    tables = PartitionTables(groups, MemoryStore())
    assert not tables.needs_load("g")
    assert await tables.load("g") == large(members=members)


def test_groups_in_memory_are_bounded_by_their_rows_and_the_newest_one_stays() -> None:
    groups = MemoryStore()
    for n in range(6):
        write(groups, large(f"g{n}", members=1_000))
    tables = PartitionTables(groups, MemoryStore(), row_capacity=3 * 1_102)
    for n in range(6):
        tables.group(f"g{n}")
    assert tables.groups_in_memory == 3
    tables = PartitionTables(groups, MemoryStore(), row_capacity=10)
    assert tables.group("g0") is tables.group("g0")


def test_a_group_that_grows_counts_as_what_it_has_become() -> None:
    groups = MemoryStore()
    write(groups, large("small", members=0))
    tables = PartitionTables(groups, MemoryStore(), row_capacity=100)
    tables.group("small")
    created = GroupCreated(
        name="n", topic="", join="open", history="all", members=tuple(NewMember(f"u{n}", "member") for n in range(99))
    )
    event = Event(group="big", seq=1, id="e", kind=created.kind, by="u0", at=to_text(FIRST_MS), data=created)
    tables.apply(event, encode_event(event))
    snapshot = tables.snapshot(1)
    assert tables.groups_in_memory == 2  # what is unwritten stays; the bound is held when there is something to load
    tables.group("another")
    assert tables.groups_in_memory == 2  # `small` is gone
    groups.write(snapshot.groups, 0)
    tables.written()
    assert tables.groups_in_memory == 1


def test_a_group_whose_rows_are_being_written_is_not_let_go() -> None:
    tables = PartitionTables(MemoryStore(), MemoryStore(), capacity=1)
    event = Event(group="g", seq=1, id="e", kind=CREATED.kind, by="ann", at=to_text(FIRST_MS), data=CREATED)
    tables.apply(event, encode_event(event))
    tables.snapshot(1)
    tables.group("another")
    assert tables.group("g").seq == 1


MESSAGES = (2, 500, 499_999, 500_001, 999_998)
POSTED = (
    b'{"type":"event","group":"g","seq":%d,"id":"e","kind":"message.posted","by":"ann","at":"x","data":{"text":"t"}}'
)
REACTED = (
    b'{"type":"event","group":"g","seq":%d,"id":"e","kind":"reaction.added","by":"bob","at":"x","data":{"target":2}}'
)
CREATED = GroupCreated(
    name="n", topic="", join="open", history="joined", members=(NewMember("ann", "owner"), NewMember("bob", "member"))
)
CHANGES = {1: CREATED, 700_000: MemberJoined(user="zoe", role="member")}


@dataclass
class Million:
    """A group of a million events, nearly all of them reactions, whose rows are in a RocksDB."""

    group: Group
    store: CountingStore

    @property
    def history(self) -> History:
        return PartitionTables(MemoryStore(), self.store).history

    async def page(self, user: str = "ann", **bounds: Any) -> tuple[list[int], bool]:
        """The seqs of a page of history, none of whose parts held the loop."""
        read = ReadMessages(group="g", user=user, end=0, **bounds)
        page, most = await while_others_run(messages_page(self.history, view_of(self.group, user), read), self.store)
        assert most < 200
        return [msgspec.json.decode(item)["seq"] for item in page.messages], page.more


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Million]:
    db = open_database(tmp_path_factory.mktemp("million") / "history")
    store, group = RocksStore(db), Group("g")
    events = {
        seq: Event(group="g", seq=seq, id="e", kind=data.kind, by="ann", at=to_text(FIRST_MS), data=data)
        for seq, data in CHANGES.items()
    }
    for event in events.values():
        group.seq = event.seq - 1
        evolve(group, event)
    group.seq = EVENTS
    values = {**{seq: POSTED % seq for seq in MESSAGES}, **{seq: encode_event(e) for seq, e in events.items()}}
    for block in range(EVENTS // BLOCK_SEQS + 1):
        seqs = range(block * BLOCK_SEQS, min((block + 1) * BLOCK_SEQS, EVENTS + 1))
        batch = [(rows.event_key("g", seq), rows.value(1, values.get(seq) or REACTED % seq)) for seq in seqs]
        marks = Marks(
            sum(1 << place for place, seq in enumerate(seqs) if seq not in MESSAGES),
            sum(1 << place for place, seq in enumerate(seqs) if seq in CHANGES),
        )
        store.write([*batch, (keys.marks_key("g", block), rows.value(1, keys.encode_marks(marks)))], 0)
    yield Million(group, CountingStore(store))
    db.close()


async def test_few_messages_among_a_million_events_are_found_without_reading_the_events(million: Million) -> None:
    before = million.store.read
    assert await million.page() == ([2, 500, 499_999, 500_001, 999_998], False)
    assert await million.page(limit=3) == ([499_999, 500_001, 999_998], True)
    assert await million.page(limit=2, after=2) == ([500, 499_999], True)
    assert await million.page(limit=2, before=500) == ([2], False)
    assert await million.page(limit=5) == ([2, 500, 499_999, 500_001, 999_998], False)
    assert million.store.read - before < 10_000  # a row for each block of 1,024, not one for each event


async def test_what_was_before_one_joined_costs_nothing_to_pass_over(million: Million) -> None:
    assert await million.page("zoe") == ([999_998], False)
    view = view_of(million.group, "zoe")
    assert last_of(view.spans, 1_000_000) is None
    assert last_of(view.spans, 10) == EVENTS - 9
    before = million.store.read
    page = events_page(million.history, view, 1, EVENTS)
    assert msgspec.json.decode(page.frames[0]) == {"type": "withheld", "group": "g", "from": 1, "through": 699_999}
    assert msgspec.json.decode(page.frames[1])["seq"] == 700_000
    assert million.store.read - before <= PAGE_EVENTS + 1


async def test_the_state_at_any_seq_is_folded_from_the_events_that_changed_it(million: Million) -> None:
    past = PastStates(million.history)
    before = million.store.read
    for seq, members in ((1, ["ann", "bob"]), (699_999, ["ann", "bob"]), (999_999, ["ann", "bob", "zoe"])):
        state, most = await while_others_run(past.at(million.group, seq), million.store)
        assert (state.seq, list(state.members)) == (seq, members)
        assert most < 1_000
    assert million.store.read - before < 5_000
