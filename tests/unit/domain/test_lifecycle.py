"""A group's beginning, its settings, its end and its next life, and what is pruned (protocol §2, §3, §9)."""

from typing import Any

import pytest

from app.domain.commands import (
    AddMember,
    CreateGroup,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    UpdateGroup,
)
from app.domain.events import GroupCreated, GroupDeleted, GroupUpdated, HistoryPruned, NewMember
from app.domain.outcomes import Unchanged
from tests.unit.domain.chat import NOW, Chat, code, data, fault, taken


def test_the_creator_is_the_first_member_and_owner_and_ignored_in_the_list() -> None:
    members = (MemberSpec("mike"), MemberSpec("olga", "reader"), MemberSpec("anna", "admin"))
    created = data(Chat().ask(CreateGroup, "olga", name="n", members=members))
    assert created.members == (NewMember("olga", "owner"), NewMember("mike", "member"), NewMember("anna", "admin"))


def test_the_creator_may_even_be_called_the_owner_in_the_list() -> None:
    created = data(Chat().ask(CreateGroup, "olga", name="n", members=(MemberSpec("olga", "owner"),)))
    assert created.members == (NewMember("olga", "owner"),)


def test_who_is_named_twice_is_one_member_with_the_last_role_in_the_first_place() -> None:
    members = (MemberSpec("mike"), MemberSpec("anna"), MemberSpec("mike", "admin"))
    created = data(Chat().ask(CreateGroup, "olga", name="n", members=members))
    assert [(m.user, m.role) for m in created.members[1:]] == [("mike", "admin"), ("anna", "member")]


def test_a_group_begins_with_what_was_asked_or_the_protocols_first_values() -> None:
    created = data(Chat().ask(CreateGroup, "olga", name="n"))
    assert created == GroupCreated(
        name="n", topic="", join="invite", history="all", members=(NewMember("olga", "owner"),)
    )
    asked: dict[str, Any] = {"name": "n", "topic": "t", "join": "open", "history": "joined"}
    created = data(Chat().ask(CreateGroup, "olga", **asked))
    assert (created.topic, created.join, created.history) == ("t", "open", "joined")


def test_an_authoritys_group_is_owned_by_the_first_that_it_names() -> None:
    chat = Chat()
    created = taken(chat.ask(CreateGroup, None, name="n", members=(MemberSpec("uli"), MemberSpec("vera"))))
    assert created.by is None
    assert created.data.members == (NewMember("uli", "owner"), NewMember("vera", "member"))  # type: ignore[union-attr]


def test_an_authoritys_group_without_members_waits_for_its_first() -> None:
    chat = Chat()
    assert data(chat.ask(CreateGroup, None, name="n")).members == ()
    assert data(chat.ask(AddMember, None, user="uli", role="reader")).role == "owner"
    assert data(chat.ask(AddMember, None, user="vera", role="reader")).role == "reader"


def test_only_what_differs_is_updated(chat: Chat) -> None:
    changed = data(chat.ask(UpdateGroup, "olga", name="Group", topic="new", join="open", history="joined"))
    assert changed == GroupUpdated(topic="new", history="joined")
    assert (chat.group.name, chat.group.topic, chat.group.join, chat.group.history) == (
        "Group",
        "new",
        "open",
        "joined",
    )


@pytest.mark.parametrize("equal", [{}, {"name": "Group"}, {"topic": "talk"}, {"join": "open"}, {"history": "all"}])
def test_an_equal_setting_changes_nothing(equal: dict[str, Any], chat: Chat) -> None:
    before = chat.group.seq
    assert chat.ask(UpdateGroup, "anna", **equal) == Unchanged()
    assert chat.group.seq == before


def test_a_topic_can_be_emptied(chat: Chat) -> None:
    assert data(chat.ask(UpdateGroup, "anna", topic="")) == GroupUpdated(topic="")
    assert chat.group.topic == ""


def test_closing_a_group_to_strangers_and_opening_it_takes_effect(chat: Chat) -> None:
    chat.ask(UpdateGroup, "anna", join="invite")
    assert code(chat.ask(Join, "zoe")) == "forbidden"
    chat.ask(UpdateGroup, "anna", join="open")
    taken(chat.ask(Join, "zoe"))


def test_the_deletion_is_an_event_and_the_last_of_its_life(chat: Chat) -> None:
    seq = chat.group.seq
    deleted = taken(chat.ask(DeleteGroup, "olga"))
    assert (deleted.seq, deleted.data) == (seq + 1, GroupDeleted())
    assert code(chat.ask(DeleteGroup, "olga")) == "no_such_group"


def test_a_new_life_goes_on_counting_and_takes_nobody_with_it(chat: Chat) -> None:
    seq = chat.group.seq
    again = chat.created_again(by="zoe")
    assert again.seq == seq + 2
    assert (chat.group.first, list(chat.group.members)) == (again.seq, ["zoe"])
    assert code(chat.ask(Send, "olga", text="t")) == "not_a_member"


def test_bans_end_with_a_life(chat: Chat) -> None:
    chat.created_again()
    assert code(chat.ask(Join, "ben")) == "forbidden"
    taken(chat.ask(AddMember, "olga", user="ben"))


def test_settings_and_the_history_rule_begin_anew(chat: Chat) -> None:
    chat.ask(UpdateGroup, "olga", history="joined")
    taken(chat.ask(Leave, "mike"))
    again = chat.created_again()
    assert (chat.group.topic, chat.group.join, chat.group.history) == ("", "invite", "all")
    assert chat.group.rules == [(again.seq, "all")]
    assert chat.group.past == {}


def test_messages_of_an_earlier_life_are_none(chat: Chat) -> None:
    seq = chat.post("olga")
    chat.created_again()
    assert code(chat.ask(Edit, "olga", seq=seq, text="t")) == "no_such_message"
    assert code(chat.ask(Send, "olga", text="t", reply_to=seq)) == "no_such_message"


def test_an_emptied_group_stays_and_is_not_created_again() -> None:
    chat = Chat()
    chat.ask(CreateGroup, "olga", name="n", members=())
    chat.ask(RemoveMember, None, user="olga")
    assert chat.group.members == {}
    assert code(chat.ask(CreateGroup, "zoe", name="n")) == "already_exists"


def test_the_instant_never_goes_back_through_a_deletion_either(chat: Chat) -> None:
    chat.now = NOW + 5_000
    deleted = taken(chat.ask(DeleteGroup, "olga"))
    chat.now = NOW
    assert taken(chat.ask(CreateGroup, "olga", name="n")).at == deleted.at == "2026-11-25T01:20:05.000Z"


def test_what_is_pruned_stays_pruned(chat: Chat) -> None:
    seqs = [chat.post("mike") for _ in range(3)]
    assert data(chat.ask(PruneHistory, None, through=seqs[1])) == HistoryPruned(through=seqs[1])
    assert chat.ask(PruneHistory, None, through=seqs[1]) == Unchanged()
    assert chat.ask(PruneHistory, None, through=seqs[0]) == Unchanged()
    assert chat.group.pruned == seqs[1]


def test_pruning_reaches_to_the_head_and_no_further(chat: Chat) -> None:
    assert fault(chat.ask(PruneHistory, None, through=chat.group.seq + 1)) == ("invalid", "through")
    head = chat.group.seq
    assert data(chat.ask(PruneHistory, None, through=head)).through == head


def test_a_pruned_message_is_none(chat: Chat) -> None:
    old, new = chat.post("mike"), chat.post("mike")
    chat.ask(PruneHistory, None, through=old)
    assert code(chat.ask(Edit, "mike", seq=old, text="t")) == "no_such_message"
    assert code(chat.ask(React, "rita", seq=old, emoji="+")) == "no_such_message"
    assert code(chat.ask(Send, "mike", text="t", reply_to=old)) == "no_such_message"
    taken(chat.ask(Edit, "mike", seq=new, text="t"))


def test_a_new_life_is_not_pruned_and_an_earlier_one_need_not_be(chat: Chat) -> None:
    chat.ask(PruneHistory, None, through=1)
    again = chat.created_again()
    assert chat.group.pruned == 0
    assert chat.ask(PruneHistory, None, through=again.seq - 1) == Unchanged()
