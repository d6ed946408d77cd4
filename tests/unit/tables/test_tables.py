"""The tables: state written as rows is the state read back, on the fake store and on RocksDB alike."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.commands import AnyCommand, CreateGroup
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.state import Group
from tables import rows
from tables.partition_tables import PartitionTables
from tables.store import last_claim, position
from tests.support.memory_store import MemoryStore
from tests.unit.domain.strategies import FIRST_MS, commands, instants
from tests.unit.tables.conftest import MakeStore


def flush(tables: PartitionTables, epoch: int = 1) -> None:
    snapshot = tables.snapshot(epoch)
    tables.stores["groups"].write(snapshot.groups, 0)
    tables.stores["history"].write(snapshot.history, 0)
    tables.written()


def decide_all(tables: PartitionTables, run: list[tuple[AnyCommand, int]], flush_every: int) -> list[Event]:
    events = []
    for n, (command, now) in enumerate(run, 1):
        outcome = decide(tables.group(command.group), command, now_ms=now, event_id="e")
        if isinstance(outcome, Event):
            tables.apply(outcome, encode_event(outcome))
            events.append(outcome)
        if n % flush_every == 0:
            flush(tables)
    flush(tables)
    return events


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("gh").flatmap(commands), instants), max_size=40), st.integers(1, 7))
def test_the_state_read_back_is_the_state(
    make_store: MakeStore, run: list[tuple[AnyCommand, int]], flush_every: int
) -> None:
    groups, history = make_store(), make_store()
    tables = PartitionTables(groups, history)
    events = decide_all(tables, run, flush_every)
    again = PartitionTables(groups, history)
    for name in "gh":
        assert again.group(name) == tables.group(name)
        assert list(again.group(name).members) == list(tables.group(name).members)
        assert list(again.group(name).sent) == list(tables.group(name).sent)
    for event in events:
        assert again.event(event.group, event.seq) == encode_event(event)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ghijk").flatmap(commands), instants), max_size=60), st.integers(1, 9))
def test_eviction_never_shows(make_store: MakeStore, run: list[tuple[AnyCommand, int]], flush_every: int) -> None:
    roomy = PartitionTables(make_store(), make_store())
    tight = PartitionTables(make_store(), make_store(), capacity=1)
    assert decide_all(tight, run, flush_every) == decide_all(roomy, run, flush_every)


def test_a_group_whose_id_begins_like_anothers_is_not_mixed_with_it(make_store: MakeStore) -> None:
    groups = make_store()
    for group in ("g", "gg", "g h"):
        state = Group(group, seq=len(group), life="alive", name=group)
        groups.write(list(rows.part_rows(state, {("head",)}, epoch=1)), 0)
    tables = PartitionTables(groups, make_store())
    assert [tables.group(g).name for g in ("g", "gg", "g h")] == ["g", "gg", "g h"]


def test_the_head_comes_after_the_groups_other_rows() -> None:
    state = Group("g", seq=1, life="alive")
    state.banned.add("zoe")
    keys = [key for key, _ in rows.part_rows(state, {("head",), ("ban", "zoe"), ("member", "x")}, epoch=1)]
    assert keys[-1] == b"g\x00h"


def test_a_row_says_which_owner_wrote_it() -> None:
    row = rows.value(41, b"payload")
    assert (rows.epoch_of(row), rows.payload_of(row)) == (41, b"payload")
    assert rows.epoch_of(rows.value(-1, b"")) == -1


def test_the_position_is_read_back(make_store: MakeStore) -> None:
    store = make_store()
    assert position(store) is None
    written = rows.Position(event_offset=9, epoch=4, command_topic_id="t", command_offset=7, command_index=2)
    store.write([(rows.POSITION_KEY, rows.encode_position(written, epoch=6))], 3)
    assert position(store) == written
    assert store.offset() == 3


def test_the_last_claim_is_the_highest(make_store: MakeStore) -> None:
    store = make_store()
    assert last_claim(store) == -1
    for epoch in (3, 300, 70):
        store.write([(rows.claim_key(epoch), b"w")], 0)
    assert last_claim(store) == 300


def test_a_rebuilt_group_loses_the_rows_that_its_log_does_not_give(make_store: MakeStore) -> None:
    groups, history = make_store(), make_store()
    ghost = Group("g", seq=9, life="alive", name="ghost")
    ghost.banned.add("zoe")
    groups.write(list(rows.part_rows(ghost, {("head",), ("ban", "zoe")}, epoch=1)), 0)
    tables = PartitionTables(groups, history)
    tables.mark_stale("g")
    assert tables.stale_groups() == {"g"}
    tables.forget("g")
    snapshot = tables.snapshot(epoch=2)
    groups.write([*snapshot.groups, *((key, None) for key in snapshot.unmarked)], 1)
    tables.written()
    again = PartitionTables(groups, history)
    assert again.group("g") == Group("g")
    assert again.stale_groups() == set()


def test_a_rebuilt_group_writes_each_key_once() -> None:
    groups = MemoryStore()
    ghost = Group("g", seq=9, life="alive", name="ghost")
    ghost.banned.add("zoe")
    groups.write(list(rows.part_rows(ghost, {("head",), ("ban", "zoe")}, epoch=1)), 0)
    tables = PartitionTables(groups, MemoryStore())
    tables.forget("g")
    created = CreateGroup(id="c", group="g", by="ann", name="n")
    event = decide(tables.group("g"), created, now_ms=FIRST_MS, event_id="e")
    assert isinstance(event, Event)
    tables.apply(event, encode_event(event))
    changes = tables.snapshot(epoch=2).groups
    assert len({key for key, _ in changes}) == len(changes)
    assert dict(changes)[rows.head_key("g")] is not None
    assert [key for key, row in changes if row is None] == [b"g\x00bzoe"]
