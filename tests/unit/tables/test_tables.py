"""The tables: state written as rows is the state read back, on the fake store and on RocksDB alike."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.commands import AnyCommand, CreateGroup, Send, UpdateGroup
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.evolve import SeqGapError
from app.domain.idempotency import WINDOW_MS
from app.domain.state import Group
from tables import group_rows, rows
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
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


@settings(max_examples=150)
@given(st.lists(st.tuples(commands("g"), instants), min_size=1, max_size=40), st.integers(1, 9), st.floats(0, 1))
def test_wherever_a_crash_cuts_a_flush_the_fold_from_the_position_makes_the_state(
    run: list[tuple[AnyCommand, int]], flush_every: int, share: float
) -> None:
    groups = MemoryStore()
    log: list[Event] = []
    tables = PartitionTables(groups, MemoryStore())
    position = 0
    for n, (command, now) in enumerate(run, 1):
        outcome = decide(tables.group("g"), command, now_ms=now, event_id="e")
        if isinstance(outcome, Event):
            tables.apply(outcome, encode_event(outcome))
            log.append(outcome)
        if n < len(run) and n % flush_every == 0:
            flush(tables)
            position = len(log)
    changes = tables.snapshot(epoch=1).groups
    groups.write(changes[: int(share * len(changes))], 0)
    again = folded_on(groups, log, position)
    assert again == tables.group("g")
    assert list(again.members) == list(tables.group("g").members)
    assert list(again.sent) == list(tables.group("g").sent)


def folded_on(groups: MemoryStore, log: list[Event], position: int) -> Group:
    """The group as an owner opens it: from its rows and the log behind the position, or anew where that has a gap."""
    tables = PartitionTables(groups, MemoryStore())
    try:
        for event in log[position:]:
            tables.apply(event, encode_event(event))
    except SeqGapError:
        tables.forget("g")
        for event in log:
            tables.apply(event, encode_event(event))
    group = tables.group("g")
    group.take_touched()
    return group


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ghijk").flatmap(commands), instants), max_size=60), st.integers(1, 9))
def test_eviction_never_shows(make_store: MakeStore, run: list[tuple[AnyCommand, int]], flush_every: int) -> None:
    roomy = PartitionTables(make_store(), make_store())
    tight = PartitionTables(make_store(), make_store(), capacity=1)
    assert decide_all(tight, run, flush_every) == decide_all(roomy, run, flush_every)


def test_a_group_whose_id_begins_like_anothers_is_not_mixed_with_it(make_store: MakeStore) -> None:
    groups = make_store()
    for group in ("g", "gg", "g h"):
        state = Group(group, seq=len(group), life="alive", name=group)
        groups.write(list(group_rows.part_rows(state, {("head",)}, epoch=1)), 0)
    tables = PartitionTables(groups, make_store())
    assert [tables.group(g).name for g in ("g", "gg", "g h")] == ["g", "gg", "g h"]


def test_the_head_comes_after_the_groups_other_rows() -> None:
    state = Group("g", seq=1, life="alive")
    state.banned.add("zoe")
    keys = [key for key, _ in group_rows.part_rows(state, {("head",), ("ban", "zoe"), ("member", "x")}, epoch=1)]
    assert keys[-1] == b"g\x00h"


class Messages:
    """A group of ann's, and her messages to it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.tables = PartitionTables(self.store, MemoryStore())
        self.log: list[Event] = []
        self.now_ms = FIRST_MS
        self.take(CreateGroup(id="c", group="g", by="ann", name="n"))
        flush(self.tables)

    def take(self, command: AnyCommand) -> None:
        event = decide(self.tables.group("g"), command, now_ms=self.now_ms, event_id="e")
        assert isinstance(event, Event)
        self.tables.apply(event, encode_event(event))
        self.log.append(event)

    def post(self, key: str, after_ms: int = 1) -> None:
        self.now_ms += after_ms
        self.take(Send(id="c", group="g", by="ann", client_msg_id=key, text="x"))

    def keys_of_flush(self) -> list[bytes]:
        changes = self.tables.snapshot(epoch=1).groups
        self.store.write(changes, 0)
        self.tables.written()
        return [key for key, _ in changes]


def test_messages_write_no_head_and_the_newest_says_how_far_the_group_is() -> None:
    chat = Messages()
    for key in "abc":
        chat.post(key)
    assert chat.keys_of_flush() == [b"g\x00sann\x00a", b"g\x00sann\x00b", b"g\x00sann\x00c"]
    again = PartitionTables(chat.store, MemoryStore()).group("g")
    assert (again.seq, again.at_ms) == (4, chat.now_ms)


def test_the_head_is_written_now_and_then_so_that_its_count_of_rows_is_about_right() -> None:
    chat = Messages()
    heads = 0
    for n in range(200):
        chat.post(str(n))
        heads += rows.head_key("g") in chat.keys_of_flush()
    assert heads == 200 // group_rows.HEAD_EVERY
    head = chat.store.get(rows.head_key("g"))
    assert head is not None
    assert group_rows.rows_of_head(head) >= 200 - group_rows.HEAD_EVERY


def test_a_changed_setting_beside_messages_writes_the_head() -> None:
    chat = Messages()
    chat.take(UpdateGroup(id="c", group="g", by="ann", client_msg_id="a", name="other"))
    chat.post("b")
    assert chat.keys_of_flush()[-1] == rows.head_key("g")


def test_the_key_that_spoke_for_the_head_goes_after_the_one_that_does_now() -> None:
    chat = Messages()
    chat.post("a")
    chat.keys_of_flush()
    position = len(chat.log)
    chat.post("b", after_ms=2 * WINDOW_MS)
    changes = chat.tables.snapshot(epoch=1).groups
    assert [(key, row is None) for key, row in changes] == [(b"g\x00sann\x00b", False), (b"g\x00sann\x00a", True)]
    chat.store.write(changes[:1], 0)
    again = PartitionTables(chat.store, MemoryStore()).group("g")
    assert (again.seq, list(again.sent)) == (position + 1, [("ann", "b")])


def test_a_key_used_again_that_spoke_for_the_head_leaves_a_gap_that_the_log_closes() -> None:
    chat = Messages()
    chat.post("a")
    chat.keys_of_flush()
    position = len(chat.log)
    chat.post("a", after_ms=2 * WINDOW_MS)
    chat.take(UpdateGroup(id="c", group="g", by="ann", name="other"))
    changes = chat.tables.snapshot(epoch=1).groups
    chat.store.write(changes[:1], 0)
    assert PartitionTables(chat.store, MemoryStore()).group("g").seq < position
    again, state = folded_on(chat.store, chat.log, position), chat.tables.group("g")
    assert (again, list(again.sent)) == (state, list(state.sent))


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
    groups.write(list(group_rows.part_rows(ghost, {("head",), ("ban", "zoe")}, epoch=1)), 0)
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


def test_a_rebuilt_group_is_void_until_its_last_row_and_writes_each_other_key_once() -> None:
    groups = MemoryStore()
    ghost = Group("g", seq=9, life="alive", name="ghost")
    ghost.banned.add("zoe")
    groups.write(list(group_rows.part_rows(ghost, {("head",), ("ban", "zoe")}, epoch=1)), 0)
    tables = PartitionTables(groups, MemoryStore())
    tables.forget("g")
    created = CreateGroup(id="c", group="g", by="ann", name="n")
    event = decide(tables.group("g"), created, now_ms=FIRST_MS, event_id="e")
    assert isinstance(event, Event)
    tables.apply(event, encode_event(event))
    changes = tables.snapshot(epoch=2).groups
    head = rows.head_key("g")
    assert [(key, rows.epoch_of(row)) for key, row in (changes[0], changes[-1]) if row] == [(head, 1), (head, 2)]
    assert len({key for key, _ in changes}) == len(changes) - 1
    assert [key for key, row in changes if row is None] == [b"g\x00bzoe"]
