"""What became of messages: reactions that are cut, rows that go away, marks and sweeps that outlive the process."""

from typing import Any

import msgspec
import pytest

from app.domain.events import (
    AnyData,
    Event,
    GroupCreated,
    HistoryPruned,
    MemberJoined,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    encode_event,
)
from app.domain.instants import to_text
from app.domain.state import Group
from tables import history, rows, sweep
from tables import history_rows as keys
from tables.history_rows import BLOCK_SEQS, redact
from tables.partition_tables import PartitionTables
from tables.store import Store
from tests.support.memory_store import MemoryStore
from tests.unit.domain.strategies import FIRST_MS
from tests.unit.tables.conftest import MakeStore

CREATED = GroupCreated(name="n", topic="", join="open", history="all", members=())


class Log:
    """A group "g" whose events are any, folded into tables over two stores."""

    def __init__(self, groups: Store | None = None, store: Store | None = None) -> None:
        self.groups, self.store = groups or MemoryStore(), store or MemoryStore()
        self.events: list[tuple[Event, bytes]] = []
        self.tables = PartitionTables(self.groups, self.store)
        self.append(CREATED)

    @property
    def history(self) -> history.History:
        return self.tables.history

    def append(self, *datas: AnyData, by: str = "ann") -> None:
        for data in datas:
            seq = len(self.events) + 1
            event = Event(group="g", seq=seq, id=f"e{seq}", kind=data.kind, by=by, at=to_text(FIRST_MS), data=data)
            self.events.append((event, encode_event(event)))
            self.tables.apply(*self.events[-1])

    def flush(self, times: int = 1) -> None:
        for _ in range(times):
            snapshot = self.tables.snapshot(1)
            self.groups.write(snapshot.groups, 0)
            self.store.write(snapshot.history, 0)
            self.tables.written()

    def reopen(self) -> None:
        self.tables = PartitionTables(self.groups, self.store)

    def seqs(self, prefix: bytes) -> list[int]:
        return [keys.last_seq(key) for key, _ in self.store.scan(prefix)]


def everything(_: int) -> bool:
    return True


@pytest.mark.parametrize("flushed", [True, False])
def test_the_users_of_a_reaction_are_cut_and_the_other_emojis_are_not(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, flushed: bool
) -> None:
    monkeypatch.setattr(history, "REACTORS", 3)
    log = Log(store=make_store())
    log.append(MessagePosted(text="hi"))
    for n in range(9):
        log.append(ReactionAdded(target=2, emoji="ab"[n % 2]), by=f"u{n}")
    log.append(ReactionAdded(target=2, emoji="a\u0301"), by="zoe")
    if flushed:
        log.flush()
    reactions = log.history.reactions("g", 2, everything)
    assert reactions.users == {"a": ["u0", "u2", "u4"], "b": ["u1", "u3", "u5"], "a\u0301": ["zoe"]}
    assert reactions.more == ["a", "b"]


def test_the_reactions_of_one_message_fit_into_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "REACTIONS_BYTES", 1_000)
    log = Log()
    log.append(MessagePosted(text="hi"))
    for n in range(100):
        log.append(ReactionAdded(target=2, emoji=f"{n:03}"), by=f"user-{n:03}")
    reactions = log.history.reactions("g", 2, everything)
    assert 30 < len(reactions.users) < 60
    assert reactions.more == [f"{n:03}" for n in range(len(reactions.users), 100)]


def test_emojis_that_take_more_as_json_still_fit_into_a_frame() -> None:
    log = Log()
    log.append(MessagePosted(text="hi"))
    for n in range(5_200):
        log.append(ReactionAdded(target=2, emoji=f"{n:04}" + "\x01" * 60), by="\x02user" * 20)
    reactions = log.history.reactions("g", 2, everything)
    assert len(msgspec.json.encode([reactions.users, reactions.more])) < 700_000
    assert len(reactions.more) == 256


def test_of_a_deleted_messages_many_reactions_a_bounded_number_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "DELETED_AT_ONCE", 5)
    log = Log()
    log.append(MessagePosted(text="hi"), MessageEdited(target=2, text="there"))
    for n in range(20):
        log.append(ReactionAdded(target=2, emoji="+"), by=f"u{n}")
    log.flush()
    before = log.history.unwritten()
    log.append(MessageDeleted(target=2))
    assert log.history.unwritten() - before < 20
    assert log.tables.event("g", 2) == redact(log.events[1][1])
    assert log.tables.event("g", 3) == redact(log.events[2][1])


def test_redacting_keeps_every_other_byte() -> None:
    event = Event(
        group='a "data" group',
        seq=7,
        id='{"text":"hi"}',
        kind="message.posted",
        by="ann",
        at=to_text(FIRST_MS),
        client_msg_id='"data":{"text":"hi"}',
        data=MessagePosted(text="hi", attributes={"data": {"text": "hi"}}),
    )
    before, after = encode_event(event), redact(encode_event(event))
    start = before.rindex(b'{"text":"hi","attributes"')
    assert after == before[:start] + b'{"text":null,"deleted":true}}'
    assert redact(after) == after


def test_rebuilding_a_group_drops_what_its_log_does_not_give(make_store: MakeStore) -> None:
    log = Log(make_store(), make_store())
    log.append(MessagePosted(text="hi"))
    events = list(log.events)
    log.append(ReactionAdded(target=2, emoji="+"), MessageEdited(target=2, text="ghost"))
    log.flush()
    log.reopen()
    assert list(log.history.marks.messages("g", 1, 4)) == [2]
    log.tables.forget("g")
    for event, value in [*events, (_posted(3), encode_event(_posted(3))), (_posted(4), encode_event(_posted(4)))]:
        log.tables.apply(event, value)
    for _ in "ab":  # as long as it is unwritten, and when it is read back
        assert log.history.reactions("g", 2, everything).users == {}
        assert list(log.history.edits("g", 2)) == []
        assert list(log.history.marks.messages("g", 1, 4)) == [2, 3, 4]
        target = log.tables.target(log.tables.group("g"), 2, ("ann", "+"))
        assert target is not None
        assert not target.reacted
        log.flush()
        log.reopen()


def _posted(seq: int) -> Event:
    data = MessagePosted(text="hi")
    return Event(group="g", seq=seq, id=f"e{seq}", kind=data.kind, by="ann", at=to_text(FIRST_MS), data=data)


def test_marks_tell_messages_and_changes_of_the_state_apart(make_store: MakeStore) -> None:
    log = Log(make_store(), make_store())
    for n in range(2, 2 * BLOCK_SEQS + 10):
        log.append(MessagePosted(text="hi") if n % 100 == 0 else ReactionAdded(target=1, emoji=str(n)))
    log.append(MemberJoined(user="bob", role="member"))
    joined = len(log.events)
    for _ in "ab":
        marks = log.history.marks
        messages = [seq for seq in marks.messages("g", 1, joined) if seq is not None]
        assert messages == list(range(100, joined, 100))
        backwards = [seq for seq in marks.messages("g", 150, 1_750, backwards=True) if seq is not None]
        assert backwards == list(range(1_700, 199, -100))
        assert [seq for seq in marks.changes("g", 1, joined) if seq is not None] == [1, joined]
        log.flush()
        log.reopen()


def test_a_group_of_before_there_were_marks_is_read_all_the_same(make_store: MakeStore) -> None:
    log = Log(make_store(), make_store())
    log.append(MessagePosted(text="hi"), MemberJoined(user="bob", role="member"), MessagePosted(text="there"))
    log.flush()
    log.store.write([(key, None) for key, _ in list(log.store.scan(keys.marks_prefix("g")))], 0)
    log.reopen()
    assert list(log.history.marks.messages("g", 1, 4)) == [1, 2, 3, 4]  # whoever asks looks at the events as well


async def test_the_state_of_before_there_were_marks_is_folded_from_all_events(make_store: MakeStore) -> None:
    log = Log(make_store(), make_store())
    log.append(MessagePosted(text="hi"), MemberJoined(user="bob", role="member"), MessagePosted(text="there"))
    log.flush()
    log.store.write([(key, None) for key, _ in list(log.store.scan(keys.marks_prefix("g")))], 0)
    log.reopen()
    states = [await log.tables.past.at(log.tables.group("g"), seq) for seq in (2, 4)]
    assert [list(state.members) for state in states] == [[], ["bob"]]


class Pruned(Log):
    """50 messages, edits and reactions, members in between; pruned through event 101."""

    def __init__(self, *stores: Store) -> None:
        super().__init__(*stores)
        for n in range(50):
            self.append(MessagePosted(text="hi"), MemberJoined(user=f"u{n}", role="member"))
        for target in (2, 4, 100):
            self.append(MessageEdited(target=target, text="there"), ReactionAdded(target=target, emoji="+"))
        self.append(MessagePosted(text="kept"), HistoryPruned(through=len(self.events)))


def test_pruned_messages_leave_the_disk_and_what_made_the_state_stays(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEPT_AT_ONCE", 7)
    log = Pruned(make_store(), make_store())
    log.flush(times=40)
    joins = [e.seq for e, _ in log.events if not isinstance(e.data, MessagePosted | MessageEdited | ReactionAdded)]
    assert log.seqs(keys.events_prefix("g")) == [*joins[:-1], 108, 109]
    assert log.seqs(keys.details_prefix("g")) == []
    assert log.seqs(keys.reactors_prefix("g")) == []
    assert list(log.store.scan(keys.SWEEP_PREFIX)) == []


def test_the_text_of_an_edit_leaves_the_disk_with_the_message_that_it_edited(make_store: MakeStore) -> None:
    log = Log(make_store(), make_store())
    log.append(MessagePosted(text="hi"), MessagePosted(text="kept"), MessageEdited(target=2, text="secret"))
    log.append(MessageEdited(target=3, text="told"), HistoryPruned(through=2))
    log.flush(times=9)
    values = [rows.payload_of(row) for _, row in log.store.scan(keys.events_prefix("g"))]
    assert [b"told" in value for value in values].count(True) == 1
    assert not [value for value in values if b"secret" in value]


def test_a_sweep_goes_on_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEPT_AT_ONCE", 7)
    log = Pruned()
    log.flush(times=3)
    assert list(log.store.scan(keys.SWEEP_PREFIX)) != []
    log.reopen()
    log.flush(times=40)
    assert len(log.seqs(keys.events_prefix("g"))) == 53
    assert list(log.store.scan(keys.SWEEP_PREFIX)) == []


def test_a_sweep_looks_at_a_bounded_number_of_rows_with_one_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEPT_AT_ONCE", 7)
    log = Pruned()
    log.flush(times=2)
    for _ in range(30):
        snapshot = log.tables.snapshot(1)
        assert len(snapshot.history) <= 2 * 7 + 1
        log.store.write(snapshot.history, 0)
        log.tables.written()


async def test_the_state_at_a_pruned_seq_is_still_known() -> None:
    log = Pruned()
    log.flush(times=5)
    state = await log.tables.past.at(log.tables.group("g"), 5)
    assert list(state.members) == ["u0", "u1"]


async def test_states_of_the_past_are_gone_on_from(make_store: MakeStore) -> None:
    log = Pruned(make_store(), make_store())
    group: Group = log.tables.group("g")
    expected: dict[int, Any] = {}
    for seq in (60, 20, 61, 20, 100, 99):
        state = await log.tables.past.at(group, seq)
        expected[seq] = [f"u{n}" for n in range((seq - 1) // 2)]
        assert (state.seq, list(state.members)) == (seq, expected[seq])


async def test_a_state_is_not_folded_past_an_event_that_is_missing() -> None:
    log = Log()
    log.append(*(MemberJoined(user=f"u{n}", role="member") for n in range(3)))
    log.flush()
    log.store.write([(rows.event_key("g", 3), None)], 0)
    log.reopen()
    for _ in "ab":
        with pytest.raises(history.NotLoadedError):
            await log.tables.past.at(log.tables.group("g"), 4)
