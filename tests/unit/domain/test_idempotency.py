"""A repeated `client_msg_id` takes effect once: protocol §2 and §9, "Idempotency"."""

from typing import Any

import pytest

from app.domain.commands import (
    AddMember,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.evolve import evolve
from app.domain.outcomes import Duplicate, Unchanged
from app.domain.state import Group
from tests.unit.domain.chat import HOUR, MINUTE, NOW, Chat, code, data, taken, usual_chat
from tests.unit.domain.test_order_of_checks import ALL

# A request of each kind, who makes it, and the same with other content. Of the usual chat's message "seq" is mike's.
ASKED: list[tuple[type[Command], str | None, dict[str, Any], list[dict[str, Any]]]] = [
    (UpdateGroup, "anna", {"name": "New"}, [{"name": "Newer"}, {"topic": "New"}, {"name": "New", "topic": "talk"}]),
    (DeleteGroup, "olga", {}, []),
    (Join, "zoe", {}, []),
    (Leave, "mike", {}, []),
    (AddMember, "anna", {"user": "new"}, [{"user": "newer"}, {"user": "new", "role": "reader"}]),
    (RemoveMember, "anna", {"user": "mira"}, [{"user": "rita"}, {"user": "mira", "ban": True}]),
    (Unban, "anna", {"user": "ben"}, [{"user": "bea"}]),
    (SetRole, "olga", {"user": "mike", "role": "owner"}, [{"user": "mike", "role": "admin"}]),
    (
        Send,
        "mike",
        {"text": "t"},
        [{"text": "u"}] + [{"text": "t"} | it for it in ({"mentions": ("olga",)}, {"attributes": {}}, {"reply_to": 1})],
    ),
    (Edit, "mike", {"seq": 2, "text": "t"}, [{"seq": 2, "text": "u"}, {"seq": 3, "text": "t"}]),
    (Delete, "anna", {"seq": 2}, [{"seq": 3}]),
    (React, "rita", {"seq": 2, "emoji": "+"}, [{"seq": 2, "emoji": "-"}, {"seq": 3, "emoji": "+"}]),
    (Unreact, "rolf", {"seq": 2, "emoji": "+"}, [{"seq": 2, "emoji": "-"}, {"seq": 3, "emoji": "+"}]),
    (PruneHistory, None, {"through": 2}, [{"through": 1}]),
]  # fmt: skip

first_requests = pytest.mark.parametrize(
    ("kind", "by", "fields", "others"), ASKED, ids=[str(kind.__struct_config__.tag) for kind, *_ in ASKED]
)


@pytest.fixture
def chat() -> Chat:
    """The usual chat, with a message of mike's at seq 2, one of mira's at 3 and a reaction of rolf's to the first."""
    chat = usual_chat()
    assert (chat.post("mike"), chat.post("mira")) == (2, 3)
    taken(chat.ask(React, "rolf", seq=2, emoji="+"))
    return chat


def test_every_request_is_tried() -> None:
    assert {kind for kind, *_ in ASKED} | {CreateGroup} == set(ALL)


@first_requests
def test_a_repetition_is_told_the_first_seq_and_instant(
    kind: type[Command], by: str | None, fields: dict[str, Any], others: list[dict[str, Any]], chat: Chat
) -> None:
    first = taken(chat.ask(kind, by, **fields, client_msg_id="k"))
    chat.now += MINUTE
    assert chat.ask(kind, by, **fields, client_msg_id="k") == Duplicate(first.seq, NOW)
    assert chat.group.seq == first.seq


@first_requests
def test_other_content_under_the_same_key_is_a_conflict(
    kind: type[Command], by: str | None, fields: dict[str, Any], others: list[dict[str, Any]], chat: Chat
) -> None:
    taken(chat.ask(kind, by, **fields, client_msg_id="k"))
    for other in others:
        assert code(chat.ask(kind, by, **other, client_msg_id="k")) == "conflict"


@first_requests
def test_another_request_under_the_same_key_is_a_conflict(
    kind: type[Command], by: str | None, fields: dict[str, Any], others: list[dict[str, Any]], chat: Chat
) -> None:
    taken(chat.ask(kind, by, **fields, client_msg_id="k"))
    for another, _, its, _ in ASKED:
        if another is not kind and not (another is RemoveMember and by == its["user"]):
            assert code(chat.ask(another, by, **its, client_msg_id="k")) == "conflict"


@first_requests
def test_whatever_the_caller_has_become_since_it_stays_the_first(
    kind: type[Command], by: str | None, fields: dict[str, Any], others: list[dict[str, Any]], chat: Chat
) -> None:
    first = taken(chat.ask(kind, by, **fields, client_msg_id="k"))
    if by is not None and kind is not DeleteGroup:
        taken(chat.ask(RemoveMember, None, user=by, ban=True))
    assert chat.ask(kind, by, **fields, client_msg_id="k") == Duplicate(first.seq, NOW)


@first_requests
def test_a_deleted_group_keeps_its_keys_and_its_next_life_does_not(
    kind: type[Command], by: str | None, fields: dict[str, Any], others: list[dict[str, Any]], chat: Chat
) -> None:
    first = taken(chat.ask(kind, by, **fields, client_msg_id="k"))
    if kind is not DeleteGroup:
        taken(chat.ask(DeleteGroup, None))
    assert chat.ask(kind, by, **fields, client_msg_id="k") == Duplicate(first.seq, NOW)
    again = taken(chat.ask(CreateGroup, "olga", name="Again", client_msg_id="next"))
    assert set(chat.group.sent) == {("olga", "next")}
    assert chat.ask(CreateGroup, "olga", name="Again", client_msg_id="next") == Duplicate(again.seq, NOW)
    assert chat.ask(kind, by, **fields, client_msg_id="k") != Duplicate(first.seq, NOW)


def test_a_repeated_creation_is_the_first_and_with_other_content_a_conflict() -> None:
    chat, members = Chat(), (MemberSpec("mike"), MemberSpec("olga"))
    asked: dict[str, Any] = {"name": "n", "members": members, "client_msg_id": "k"}
    first = taken(chat.ask(CreateGroup, "olga", **asked))
    assert chat.ask(CreateGroup, "olga", **asked) == Duplicate(first.seq, NOW)
    assert chat.ask(CreateGroup, "olga", **asked | {"members": members[:1]}) == Duplicate(first.seq, NOW)
    for other in ({"name": "o"}, {"topic": "t"}, {"join": "open"}, {"history": "joined"}, {"members": ()}):
        assert code(chat.ask(CreateGroup, "olga", **asked | other)) == "conflict"


def test_a_creation_repeated_after_its_group_was_deleted_begins_a_life() -> None:
    chat = Chat()
    first = taken(chat.ask(CreateGroup, "olga", name="n", client_msg_id="k"))
    chat.ask(DeleteGroup, "olga")
    again = taken(chat.ask(CreateGroup, "olga", name="n", client_msg_id="k"))
    assert again.seq == first.seq + 2
    assert chat.ask(CreateGroup, "olga", name="n", client_msg_id="k") == Duplicate(again.seq, NOW)


def test_a_creation_with_a_key_of_the_life_before_is_a_conflict_where_it_asks_for_something_else() -> None:
    chat = Chat()
    chat.ask(CreateGroup, "olga", name="n", client_msg_id="k")
    chat.ask(Send, "olga", text="hi", client_msg_id="m")
    chat.ask(DeleteGroup, "olga")
    assert code(chat.ask(CreateGroup, "olga", name="n", client_msg_id="m")) == "conflict"
    assert code(chat.ask(CreateGroup, "olga", name="other", client_msg_id="k")) == "conflict"
    assert taken(chat.ask(CreateGroup, "olga", name="other", client_msg_id="new")).seq == 4


def test_an_authoritys_creation_is_repeated_like_any_other() -> None:
    chat, members = Chat(), (MemberSpec("uli", "reader"),)
    first = taken(chat.ask(CreateGroup, None, name="n", members=members, client_msg_id="k"))
    assert chat.ask(CreateGroup, None, name="n", members=members, client_msg_id="k") == Duplicate(first.seq, NOW)


def test_the_request_is_compared_and_not_what_it_changed(chat: Chat) -> None:
    asked: dict[str, Any] = {"name": "Group", "topic": "new", "client_msg_id": "k"}
    first = taken(chat.ask(UpdateGroup, "olga", **asked))
    assert chat.ask(UpdateGroup, "olga", **asked) == Duplicate(first.seq, NOW)
    assert code(chat.ask(UpdateGroup, "olga", topic="new", client_msg_id="k")) == "conflict"


def test_who_was_added_to_an_empty_group_and_owns_it_was_added_in_the_role_that_was_asked() -> None:
    chat = Chat()
    chat.ask(CreateGroup, None, name="n")
    first = taken(chat.ask(AddMember, None, user="uli", role="reader", client_msg_id="k"))
    assert chat.ask(AddMember, None, user="uli", role="reader", client_msg_id="k") == Duplicate(first.seq, NOW)


def test_an_authoritys_addition_is_the_same_whatever_role_it_named(chat: Chat) -> None:
    first = taken(chat.ask(AddMember, None, user="uli", role="reader", client_msg_id="k"))
    assert chat.ask(AddMember, None, user="uli", role="admin", client_msg_id="k") == Duplicate(first.seq, NOW)


def test_content_is_compared_as_values_whatever_the_order_of_names(chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", attributes={"a": 1, "b": {"c": 2, "d": 3}}, client_msg_id="k"))
    turned = {"b": {"d": 3, "c": 2}, "a": 1}
    assert chat.ask(Send, "mike", text="t", attributes=turned, client_msg_id="k") == Duplicate(first.seq, NOW)
    assert code(chat.ask(Send, "mike", text="t", attributes={"a": 1}, client_msg_id="k")) == "conflict"


def test_content_is_compared_with_what_was_first_posted_whatever_became_of_it(chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", client_msg_id="k"))
    chat.ask(Edit, "mike", seq=first.seq, text="u")
    assert code(chat.ask(Send, "mike", text="u", client_msg_id="k")) == "conflict"
    chat.ask(Delete, "mike", seq=first.seq)
    assert chat.ask(Send, "mike", text="t", client_msg_id="k") == Duplicate(first.seq, NOW)


def test_a_reply_is_repeated_when_its_message_is_gone(chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", reply_to=3, client_msg_id="k"))
    chat.ask(Delete, "mira", seq=3)
    assert chat.ask(Send, "mike", text="t", reply_to=3, client_msg_id="k") == Duplicate(first.seq, NOW)


def test_a_refused_request_leaves_its_key_free(chat: Chat) -> None:
    assert code(chat.ask(Send, "rita", text="t", client_msg_id="k")) == "forbidden"
    chat.ask(SetRole, "olga", user="rita", role="member")
    taken(chat.ask(Send, "rita", text="other", client_msg_id="k"))


def test_a_request_that_changed_nothing_leaves_its_key_free(chat: Chat) -> None:
    assert chat.ask(Unban, "olga", user="mike", client_msg_id="k") == Unchanged()
    taken(chat.ask(Unban, "olga", user="ben", client_msg_id="k"))


def test_keys_belong_to_a_user_and_an_authority_is_one(chat: Chat) -> None:
    for by in ("mike", "anna", None):
        assert data(chat.ask(Send, by, text=f"of {by}", client_msg_id="k")).text == f"of {by}"


def test_keys_belong_to_a_group(chat: Chat) -> None:
    another = usual_chat()
    for each in (chat, another):
        taken(each.ask(Send, "mike", text="t", client_msg_id="k"))


def test_without_a_key_there_is_no_repetition(chat: Chat) -> None:
    taken(chat.ask(UpdateGroup, "olga", name="a"))
    taken(chat.ask(UpdateGroup, "olga", name="b"))
    taken(chat.ask(UpdateGroup, "olga", name="a"))
    assert set(chat.group.sent) == {("mike", "auto-1"), ("mira", "auto-2")}


@pytest.mark.parametrize(("age", "word"), [(24 * HOUR, "duplicate"), (24 * HOUR + 1, "ok")])
def test_a_key_holds_for_24_hours_by_the_records_instants(age: int, word: str, chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", client_msg_id="k"))
    chat.now += age
    outcome = chat.ask(Send, "mike", text="t", client_msg_id="k")
    assert outcome == Duplicate(first.seq, NOW) if word == "duplicate" else taken(outcome).seq == first.seq + 1


def test_an_instant_that_went_back_does_not_make_a_key_younger_or_older(chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", client_msg_id="k"))
    chat.now += 24 * HOUR
    chat.post("mira")
    chat.now = NOW - 48 * HOUR
    assert chat.ask(Send, "mike", text="t", client_msg_id="k") == Duplicate(first.seq, NOW)


@pytest.mark.parametrize(
    ("more", "age", "held"),
    [
        (9_999, 10 * MINUTE + 1, True),  # still one of the last 10,000 events
        (10_000, 10 * MINUTE, True),  # never less than 10 minutes
        (10_000, 10 * MINUTE + 1, False),
    ],
)
def test_a_key_holds_for_10_000_events_and_never_less_than_10_minutes(
    more: int, age: int, held: bool, chat: Chat
) -> None:
    first = taken(chat.ask(Send, "mike", text="t", client_msg_id="k"))
    for n in range(more):
        chat.ask(UpdateGroup, "olga", name=str(n))
    assert chat.group.seq == first.seq + more
    chat.now += age
    outcome = chat.ask(Send, "mike", text="other", client_msg_id="k")
    assert code(outcome) == "conflict" if held else taken(outcome).seq == first.seq + more + 1


def test_what_is_out_of_the_window_is_let_go_of_oldest_first_and_named_for_the_tables(chat: Chat) -> None:
    for n in range(3):
        chat.ask(Send, "mike", text="t", client_msg_id=f"k{n}")
        chat.now += HOUR
    chat.group.take_touched()
    chat.now = NOW + 25 * HOUR + 1  # k0 and k1 are older than 24 hours, k2 is not
    chat.post("mira")
    assert [key for key in chat.group.sent if key[0] == "mike"] == [("mike", "k2")]
    gone = {part for part in chat.group.take_touched() if part[0] == "sent"}
    assert gone >= {("sent", "mike", "k0"), ("sent", "mike", "k1")}
    assert ("sent", "mike", "k2") not in gone


def test_a_key_used_again_after_its_window_holds_for_a_window_of_its_own(chat: Chat) -> None:
    chat.ask(Send, "mike", text="t", client_msg_id="k")
    chat.now += 24 * HOUR + 1
    second = taken(chat.ask(Send, "mike", text="u", client_msg_id="k"))
    at = chat.now
    chat.now += 24 * HOUR
    assert chat.ask(Send, "mike", text="u", client_msg_id="k") == Duplicate(second.seq, at)


def test_an_event_of_before_the_digest_was_written_beside_it_still_tells_a_repetition(chat: Chat) -> None:
    first = taken(chat.ask(Send, "mike", text="t", client_msg_id="k"))
    folded = Group("g1", seq=first.seq - 1)
    evolve(folded, first)
    assert folded.sent == {("mike", "k"): chat.group.sent["mike", "k"]}
