"""Each rule of protocol §2 and §9 that a decision follows, a test a rule."""

from typing import Any

import pytest

from app.domain.commands import AddMember, AnyCommand, CreateGroup, Join, Leave, MemberSpec, RemoveMember, Send
from app.domain.decide import Outcome, decide
from app.domain.events import Event, GroupCreated, MemberJoined, MemberRemoved, MessagePosted
from app.domain.evolve import evolve
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.domain.state import Group, Target

NOW = 1_795_569_600_000


class Chat:
    """One group, driven by commands."""

    def __init__(self) -> None:
        self.group = Group("g1")
        self.now = NOW

    def ask(self, command: AnyCommand, target: Target | None = None) -> Outcome:
        outcome = decide(self.group, command, now_ms=self.now, event_id="e", target=target)
        if isinstance(outcome, Event):
            evolve(self.group, outcome)
        return outcome

    def create(self, by: str | None = "olga", **fields: Any) -> Outcome:
        return self.ask(CreateGroup(id="c", group="g1", by=by, name="Group", **fields))

    def join(self, by: str, **fields: Any) -> Outcome:
        return self.ask(Join(id="c", group="g1", by=by, **fields))

    def leave(self, by: str, **fields: Any) -> Outcome:
        return self.ask(Leave(id="c", group="g1", by=by, **fields))

    def add(self, by: str | None, user: str, **fields: Any) -> Outcome:
        return self.ask(AddMember(id="c", group="g1", by=by, user=user, **fields))

    def remove(self, by: str | None, user: str, **fields: Any) -> Outcome:
        return self.ask(RemoveMember(id="c", group="g1", by=by, user=user, **fields))

    def send(self, by: str, text: str = "hi", key: str = "m1", target: Target | None = None, **fields: Any) -> Outcome:
        return self.ask(Send(id="c", group="g1", by=by, text=text, client_msg_id=key, **fields), target)


@pytest.fixture
def chat() -> Chat:
    """Owner olga, admin anna, member mike, reader rita; joining is open."""
    chat = Chat()
    members = (MemberSpec("anna", "admin"), MemberSpec("mike"), MemberSpec("rita", "reader"))
    assert isinstance(chat.create(join="open", members=members), Event)
    return chat


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Rejection), outcome
    return outcome.code


def data(outcome: Outcome) -> Any:
    assert isinstance(outcome, Event), outcome
    return outcome.data


def test_the_creator_is_the_first_member_and_owner_and_ignored_in_the_list() -> None:
    created = data(
        Chat().create(members=(MemberSpec("mike"), MemberSpec("olga", "reader"), MemberSpec("mike", "admin")))
    )
    assert isinstance(created, GroupCreated)
    assert [(m.user, m.role) for m in created.members] == [("olga", "owner"), ("mike", "admin")]


def test_a_group_that_lives_is_not_created_again(chat: Chat) -> None:
    assert code(chat.create()) == "already_exists"


@pytest.mark.parametrize("who", ["olga", "anna", "mike"])
def test_members_and_above_post(chat: Chat, who: str) -> None:
    assert data(chat.send(who)) == MessagePosted(text="hi")


def test_a_reader_does_not_post(chat: Chat) -> None:
    assert code(chat.send("rita")) == "forbidden"


def test_a_stranger_is_not_a_member_whatever_is_asked(chat: Chat) -> None:
    assert code(chat.send("zoe")) == "not_a_member"
    assert code(chat.leave("zoe")) == "not_a_member"
    assert code(chat.add("zoe", "yan")) == "not_a_member"
    assert code(chat.remove("zoe", "mike")) == "not_a_member"


def test_there_is_no_group_before_it_is_created() -> None:
    chat = Chat()
    assert code(chat.send("olga")) == "no_such_group"
    assert code(chat.join("olga")) == "no_such_group"


def test_fields_are_checked_before_the_group() -> None:
    assert code(Chat().send("olga", text="")) == "invalid"


def test_joining_an_open_group(chat: Chat) -> None:
    assert data(chat.join("zoe")) == MemberJoined(user="zoe", role="member")
    assert code(chat.join("zoe")) == "already_a_member"


def test_joining_by_invitation_only_is_forbidden() -> None:
    chat = Chat()
    chat.create()
    assert code(chat.join("zoe")) == "forbidden"


def test_who_joins_an_empty_open_group_owns_it(chat: Chat) -> None:
    for user in ("anna", "mike", "rita", "olga"):
        assert isinstance(chat.leave(user), Event)
    assert data(chat.join("zoe")).role == "owner"


def test_an_owner_with_other_members_cannot_leave(chat: Chat) -> None:
    assert code(chat.leave("olga")) == "last_owner"


def test_an_admin_adds_up_to_member_and_an_owner_up_to_admin(chat: Chat) -> None:
    assert code(chat.add("anna", "u1", role="admin")) == "forbidden"
    assert data(chat.add("anna", "u1", role="reader")).role == "reader"
    assert data(chat.add("olga", "u2", role="admin")).role == "admin"
    assert code(chat.add("mike", "u3")) == "forbidden"
    assert code(chat.add("olga", "u4", role="owner")) == "invalid"


def test_adding_a_member_twice_and_adding_the_banned(chat: Chat) -> None:
    assert code(chat.add("olga", "mike")) == "already_a_member"
    chat.remove("olga", "mike", ban=True)
    assert code(chat.add("olga", "mike")) == "banned"


def test_nobody_removes_someone_of_an_equal_or_higher_role(chat: Chat) -> None:
    chat.add("olga", "ada", role="admin")
    assert code(chat.remove("anna", "ada")) == "forbidden"
    assert code(chat.remove("anna", "olga")) == "forbidden"
    assert code(chat.remove("mike", "rita")) == "forbidden"
    assert data(chat.remove("anna", "mike")) == MemberRemoved(user="mike", banned=False)


def test_one_leaves_and_does_not_remove_oneself(chat: Chat) -> None:
    refused = chat.remove("anna", "anna")
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", "user")


def test_a_ban_ahead_is_an_event_and_a_second_one_changes_nothing(chat: Chat) -> None:
    assert code(chat.remove("olga", "zoe")) == "not_a_member"
    assert data(chat.remove("olga", "zoe", ban=True)).banned
    assert chat.remove("olga", "zoe", ban=True) == Unchanged()
    assert code(chat.join("zoe")) == "banned"


def test_the_banned_get_banned_for_every_request(chat: Chat) -> None:
    chat.remove("olga", "mike", ban=True)
    assert {code(chat.send("mike")), code(chat.leave("mike")), code(chat.add("mike", "x"))} == {"banned"}


def test_an_authority_removes_the_owner_and_the_event_names_the_heir(chat: Chat) -> None:
    assert data(chat.remove(None, "olga")).owner == "anna"
    assert chat.group.members["anna"].role == "owner"
    assert data(chat.remove(None, "anna")).owner == "mike"


def test_a_reply_needs_a_message_that_is_there(chat: Chat) -> None:
    assert code(chat.send("mike", reply_to=7)) == "no_such_message"
    assert code(chat.send("mike", reply_to=2, target=Target(2, "mike", deleted=True))) == "no_such_message"
    assert data(chat.send("mike", reply_to=2, target=Target(2, "mike"))).reply_to == 2


def test_a_repetition_gets_the_first_seq_whoever_the_user_is_by_then(chat: Chat) -> None:
    first = chat.send("mike", key="k")
    assert isinstance(first, Event)
    chat.now += 5
    chat.remove("olga", "mike", ban=True)
    assert chat.send("mike", key="k") == Duplicate(first.seq, NOW)


def test_a_repeated_leave_is_the_first_one(chat: Chat) -> None:
    left = chat.leave("mike", client_msg_id="bye")
    assert isinstance(left, Event)
    assert chat.leave("mike", client_msg_id="bye") == Duplicate(left.seq, NOW)


def test_the_same_key_with_other_content_or_as_another_request_is_a_conflict(chat: Chat) -> None:
    chat.send("mike", "one", key="k")
    assert code(chat.send("mike", "two", key="k")) == "conflict"
    assert code(chat.leave("mike", client_msg_id="k")) == "conflict"


def test_a_refused_send_leaves_its_key_free(chat: Chat) -> None:
    assert code(chat.send("rita", key="k")) == "forbidden"
    chat.leave("rita")
    chat.join("rita")
    assert isinstance(chat.send("rita", key="k"), Event)


def test_keys_belong_to_a_user(chat: Chat) -> None:
    assert isinstance(chat.send("mike", key="k"), Event)
    assert isinstance(chat.send("anna", key="k"), Event)


def test_content_is_compared_as_values(chat: Chat) -> None:
    first = chat.send("mike", attributes={"a": 1, "b": [2]}, key="k")
    assert isinstance(first, Event)
    assert isinstance(chat.send("mike", attributes={"b": [2], "a": 1}, key="k"), Duplicate)
    assert code(chat.send("mike", attributes={"b": [2]}, key="k")) == "conflict"


def test_a_key_holds_for_a_day_and_is_free_after(chat: Chat) -> None:
    chat.send("mike", key="k")
    chat.now += 24 * 3_600_000
    assert isinstance(chat.send("mike", key="k"), Duplicate)
    chat.now += 1
    assert isinstance(chat.send("mike", "other", key="k"), Event)


def test_a_key_holds_for_ten_minutes_and_ten_thousand_events(chat: Chat) -> None:
    first = chat.send("mike", key="k")
    assert isinstance(first, Event)
    for n in range(9_999):
        chat.send("anna", key=f"a{n}")
    chat.now += 600_001
    assert isinstance(chat.send("mike", key="k"), Duplicate)
    chat.send("anna", key="last")
    assert isinstance(chat.send("mike", "again", key="k"), Event)


def test_at_never_goes_back(chat: Chat) -> None:
    chat.now += 10_000
    later = chat.send("mike", key="a")
    chat.now -= 5_000
    earlier = chat.send("mike", key="b")
    assert isinstance(later, Event)
    assert isinstance(earlier, Event)
    assert earlier.at == later.at


def test_a_text_at_the_limit_and_one_byte_over(chat: Chat) -> None:
    assert isinstance(chat.send("mike", "é" * 8192, key="a"), Event)
    refused = chat.send("mike", "é" * 8192 + "x", key="b")
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("too_large", "text")


@pytest.mark.parametrize("group", ["", "a" * 129, "a\x00b", "a\nb", " a", "a\u00a0", ".", "..", "\u0085", "a\ud800"])
def test_ids_that_are_refused(group: str) -> None:
    refused = decide(Group(group), Join(id="c", group=group, by="zoe"), now_ms=NOW, event_id="e")
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", "group")


@pytest.mark.parametrize("group", ["a/b", "100%", "🎉" * 32, "é", "e\u0301", "...", "a b", "a" * 128])
def test_ids_that_are_taken_byte_for_byte(group: str) -> None:
    created = decide(Group(group), CreateGroup(id="c", group=group, by="zoe", name="n"), now_ms=NOW, event_id="e")
    assert isinstance(created, Event)
    assert created.group == group
