"""Who may read what, and the fold's refusal to guess."""

import pytest

from app.domain.events import (
    Event,
    GroupCreated,
    HistoryPruned,
    MemberJoined,
    MemberLeft,
    MessagePosted,
    NewMember,
    UnknownKindError,
    decode_event,
    encode_event,
)
from app.domain.evolve import SeqGapError, evolve
from app.domain.state import Group, readable

AT = "2026-11-25T01:20:00.123Z"


def event(seq: int, data: object, by: str = "olga") -> Event:
    return Event(group="g", seq=seq, id=f"e{seq}", kind=data.kind, by=by, at=AT, data=data)  # type: ignore[attr-defined, arg-type]


def fold(*datas: object) -> Group:
    group = Group("g")
    for seq, data in enumerate(datas, 1):
        evolve(group, event(seq, data))
    return group


def created(history: str) -> GroupCreated:
    return GroupCreated(
        name="n",
        topic="",
        join="open",
        history=history,
        members=(NewMember("olga", "owner"),),  # type: ignore[arg-type]
    )


def test_with_history_all_a_member_reads_what_was_before() -> None:
    group = fold(created("all"), MessagePosted(text="a"), MemberJoined(user="mike", role="member"))
    assert all(readable(group, "mike", seq) for seq in (1, 2, 3))


def test_with_history_joined_a_member_reads_what_was_sent_while_a_member() -> None:
    post = MessagePosted(text="a")
    mike_in, mike_out = MemberJoined(user="mike", role="member"), MemberLeft(user="mike")
    group = fold(created("joined"), post, mike_in, post, mike_out, post, mike_in, post)
    assert [seq for seq in range(1, 9) if readable(group, "mike", seq)] == [3, 4, 5, 7, 8]
    assert all(readable(group, "olga", seq) for seq in range(1, 9))


def test_a_gap_is_refused_and_nothing_is_changed() -> None:
    group = fold(created("all"))
    with pytest.raises(SeqGapError):
        evolve(group, event(3, MessagePosted(text="a")))
    assert group.seq == 1


def test_an_unknown_kind_stops_the_fold() -> None:
    value = encode_event(event(1, MessagePosted(text="a"))).replace(b"message.posted", b"message.hidden")
    with pytest.raises(UnknownKindError):
        decode_event(value)


def test_the_frame_is_spelled_as_the_protocol_says() -> None:
    posted = Event(
        group="g1", seq=7, id="x", kind="message.posted", by="alice", at=AT, client_msg_id="c1",
        data=MessagePosted(text="é", reply_to=2),
    )  # fmt: skip
    assert encode_event(posted).decode() == (
        '{"type":"event","group":"g1","seq":7,"id":"x","kind":"message.posted","by":"alice",'
        f'"at":"{AT}","client_msg_id":"c1","data":{{"text":"é","reply_to":2}}}}'
    )


def test_what_is_pruned_is_never_served_again_whatever_comes_later() -> None:
    post = MessagePosted(text="a")
    assert fold(created("all"), post, post, HistoryPruned(through=3), HistoryPruned(through=2)).pruned == 3
