"""The history read back is what a naive fold of the log gives, whatever the tables went through."""

import copy
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.commands import Delete, Join, Leave, UpdateGroup
from app.domain.events import Event, MessageDeleted, MessageEdited, MessagePosted, encode_event
from app.domain.evolve import evolve
from app.domain.state import Group
from tables import history_rows as keys
from tables.history_rows import decode_edited, is_edit, redact
from tests.unit.tables.conftest import MakeStore
from tests.unit.tables.conversations import (
    GROUP,
    USERS,
    Conversation,
    Step,
    deleted_texts,
    expected_items,
    steps,
)

many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)


def redacted(log: list[Event], group: Group) -> list[bytes]:
    """The frames of a log whose deleted messages are redacted, they and their edits, and edits of pruned ones."""
    gone = {e.data.target for e in log if isinstance(e.data, MessageDeleted)} | set(range(group.pruned + 1))
    frames = []
    for event in log:
        of = event.data.target if isinstance(event.data, MessageEdited) else event.seq
        frame = encode_event(event)
        if of in gone and isinstance(event.data, MessagePosted | MessageEdited):
            frame = frame[: frame.index(b',"data":')] + b',"data":{"text":null,"deleted":true}}'
        frames.append(frame)
    return frames


@many
@given(steps)
def test_the_items_read_back_are_a_naive_fold_of_the_log(make_store: MakeStore, happened: list[Step]) -> None:
    chat = Conversation(make_store(), make_store())
    chat.play(happened)
    for user in USERS:
        expected = expected_items(chat.log, chat.group, user)
        items, more = chat.items(user, limit=200)
        assert (items, more) == (expected, False)
        # Order matters where JSON's objects have one: emojis by their first reaction.
        assert [list(item["reactions"]) for item in items] == [list(item["reactions"]) for item in expected]


@many
@given(steps, st.integers(1, 5), st.integers(0, 40), st.booleans())
def test_a_page_is_cut_from_the_items_and_more_is_exact(
    make_store: MakeStore, happened: list[Step], limit: int, bound: int, onwards: bool
) -> None:
    chat = Conversation(make_store(), make_store())
    chat.play(happened)
    everything = expected_items(chat.log, chat.group, "ann")
    if onwards:
        rest = [item for item in everything if item["seq"] > bound]
        assert chat.items("ann", after=bound, limit=limit) == (rest[:limit], len(rest) > limit)
    else:
        rest = [item for item in everything if item["seq"] < bound]
        assert chat.items("ann", before=bound, limit=limit) == (rest[-limit:], len(rest) > limit)


@many
@given(steps)
def test_frames_are_the_logs_own_bytes_but_for_what_was_deleted(make_store: MakeStore, happened: list[Step]) -> None:
    chat = Conversation(make_store(), make_store())
    chat.play(happened)
    low = max(chat.group.first, chat.group.pruned + 1)
    expected = redacted(chat.log, chat.group)[low - 1 :]
    kept = [value for _, value in chat.tables.history.events(GROUP, low, chat.group.seq)]
    assert kept == [chat.tables.event(GROUP, seq) for seq in range(low, chat.group.seq + 1)]
    assert [_of_kept(value, low) for value in kept] == expected


def _of_kept(value: bytes, low: int) -> bytes:
    """The event as it is served: the sweep may not have come to the edit of a pruned message yet."""
    target = decode_edited(value).data.target if is_edit(value) else None
    return redact(value) if target is not None and target < low else value


@many
@given(steps)
def test_no_row_holds_what_became_of_a_deleted_message(make_store: MakeStore, happened: list[Step]) -> None:
    groups, history = make_store(), make_store()
    chat = Conversation(groups, history)
    chat.play(happened)
    chat.flush()
    texts = [msgspec.json.encode(text) for text in deleted_texts(chat.log)]
    rows = [row for store in (groups, history) for _, row in store.scan(b"")]
    assert not [text for text in texts for row in rows if text in row]
    for seq in {e.data.target for e in chat.log if isinstance(e.data, MessageDeleted)}:
        assert not list(history.scan(keys.detail_prefix(GROUP, seq)))
        assert not list(history.scan(keys.reactors_prefix(GROUP, seq)))


def test_a_flush_that_is_torn_anywhere_leaves_no_deleted_text(make_store: MakeStore) -> None:
    for torn in range(9):
        groups, history = make_store(), make_store()
        chat = Conversation(groups, history)
        chat.play([Step("send", "ann", 0, "first"), Step("edit", "ann", 0, "second"), Step("flush", "ann", 0, "")])
        chat.ask(Delete(id="c", group=GROUP, by="ann", seq=2))
        snapshot = chat.tables.snapshot(1)
        assert len(snapshot.history) < 9
        chat.tear(snapshot, len(snapshot.groups), torn)
        chat.flush()
        assert not [row for _, row in history.scan(b"") if b"first" in row or b"second" in row]


@many
@given(steps)
def test_a_target_is_what_the_fold_says_of_the_message(make_store: MakeStore, happened: list[Step]) -> None:
    chat = Conversation(make_store(), make_store())
    chat.play(happened)
    gone = {e.data.target for e in chat.log if isinstance(e.data, MessageDeleted)}
    low = max(chat.group.first, chat.group.pruned + 1)
    for event in chat.log:
        target = chat.tables.target(chat.group, event.seq, ("bob", "+"))
        if event.seq < low or not isinstance(event.data, MessagePosted):
            assert target is None
            continue
        assert target is not None
        assert (target.seq, target.by, target.deleted) == (event.seq, event.by, event.seq in gone)
    # All of it is readable to bob in a group whose history is whole.
    reacted = {seq for seq in range(low, chat.group.seq + 1) if _reacted(chat, seq)}
    assert reacted == _reacted_in_log(chat, low)


def _reacted(chat: Conversation, seq: int) -> bool:
    target = chat.tables.target(chat.group, seq, ("bob", "+"))
    return target is not None and target.reacted


def _reacted_in_log(chat: Conversation, low: int) -> set[int]:
    reacted: set[int] = set()
    for event in chat.log[low - 1 :]:
        match event.kind, event.by, getattr(event.data, "emoji", None):
            case "reaction.added", "bob", "+":
                reacted.add(event.data.target)  # type: ignore[union-attr]
            case "reaction.removed", "bob", "+":
                reacted.discard(event.data.target)  # type: ignore[union-attr]
            case "message.deleted", _, _:
                reacted.discard(event.data.target)  # type: ignore[union-attr]
    return {seq for seq in reacted if seq >= low}


@many
@given(steps)
def test_the_state_read_back_after_anything_is_the_fold_of_the_log(make_store: MakeStore, happened: list[Step]) -> None:
    chat = Conversation(make_store(), make_store())
    chat.play(happened)
    folded = Group(GROUP)
    for event in chat.log:
        evolve(folded, event)
    for state in (chat.group, reopened(chat)):
        state.touched.clear()
        folded.touched.clear()
        assert state == folded
        assert list(state.members) == list(folded.members)


def reopened(chat: Conversation) -> Group:
    chat.flush()
    chat.crash()
    return chat.group


def test_a_flush_that_is_torn_anywhere_leaves_the_state_of_the_log(make_store: MakeStore) -> None:
    for torn in range(12):
        chat = Conversation(make_store(), make_store())
        chat.flush()
        bob: dict[str, Any] = {"id": "c", "group": GROUP, "by": "bob"}
        for command in (
            UpdateGroup(id="c", group=GROUP, by="ann", history="joined"),
            Leave(**bob),
            Join(**bob),
            Leave(**{**bob, "by": "cyd"}),
            Leave(**bob),
            Join(**bob),
            Join(**{**bob, "by": "cyd"}),
        ):
            chat.ask(command)
        state = copy.deepcopy(chat.group)
        snapshot = chat.tables.snapshot(1)
        assert len(snapshot.groups) < 12
        chat.tear(snapshot, torn, 0)
        for again in (chat.group, reopened(chat)):
            again.touched.clear()
            state.touched.clear()
            assert again == state
            assert list(again.members) == ["ann", "bob", "cyd"]
