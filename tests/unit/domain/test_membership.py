"""Who is in, who is kept out, in which role: protocol §9, "Membership", a test a sentence."""

import pytest

from app.domain.commands import (
    AddMember,
    CreateGroup,
    Join,
    Leave,
    MemberSpec,
    React,
    RemoveMember,
    Role,
    Send,
    SetRole,
    Unban,
    UpdateGroup,
)
from app.domain.events import MemberJoined, MemberLeft, MemberRemoved, MemberRoleChanged, MemberUnbanned
from app.domain.outcomes import Unchanged
from app.domain.state import owner_of
from tests.unit.domain.chat import Chat, code, data, fault, taken


def test_who_joins_an_open_group_is_a_member(chat: Chat) -> None:
    assert data(chat.ask(Join, "zoe")) == MemberJoined(user="zoe", role="member")
    assert code(chat.ask(Join, "zoe")) == "already_a_member"


def test_joining_by_invitation_only_is_forbidden(chat: Chat) -> None:
    chat.ask(UpdateGroup, "olga", join="invite")
    assert code(chat.ask(Join, "zoe")) == "forbidden"


def test_the_only_member_can_leave_and_who_joins_the_empty_open_group_owns_it() -> None:
    chat = Chat()
    chat.ask(CreateGroup, "olga", name="n", join="open")
    assert data(chat.ask(Leave, "olga")) == MemberLeft(user="olga")
    assert data(chat.ask(Join, "zoe")) == MemberJoined(user="zoe", role="owner")
    assert data(chat.ask(Join, "olga")) == MemberJoined(user="olga", role="member")


def test_an_owner_with_other_members_cannot_leave_before_a_transfer(chat: Chat) -> None:
    assert code(chat.ask(Leave, "olga")) == "last_owner"
    chat.ask(SetRole, "olga", user="mike", role="owner")
    assert data(chat.ask(Leave, "olga")) == MemberLeft(user="olga")


def test_who_left_is_no_member_and_may_come_again_with_a_first_role(chat: Chat) -> None:
    chat.ask(Leave, "anna")
    assert code(chat.ask(Send, "anna", text="t")) == "not_a_member"
    assert data(chat.ask(Join, "anna")).role == "member"


@pytest.mark.parametrize("by", ["rita", "mike", "anna", "olga", "zoe"])
@pytest.mark.parametrize("ban", [False, True])
def test_removing_oneself_is_invalid_whatever_the_role(by: str, ban: bool, chat: Chat) -> None:
    assert fault(chat.ask(RemoveMember, by, user=by, ban=ban)) == ("invalid", "user")


def test_a_removal_says_whether_it_bans(chat: Chat) -> None:
    assert data(chat.ask(RemoveMember, "anna", user="mike")) == MemberRemoved(user="mike", banned=False)
    assert data(chat.ask(RemoveMember, "anna", user="mira", ban=True)) == MemberRemoved(user="mira", banned=True)
    taken(chat.ask(Join, "mike"))
    assert code(chat.ask(Join, "mira")) == "banned"


def test_a_ban_ahead_keeps_a_stranger_out(chat: Chat) -> None:
    assert code(chat.ask(RemoveMember, "anna", user="zoe")) == "not_a_member"
    assert data(chat.ask(RemoveMember, "anna", user="zoe", ban=True)) == MemberRemoved(user="zoe", banned=True)
    assert chat.ask(RemoveMember, "anna", user="zoe", ban=True) == Unchanged()
    assert code(chat.ask(Join, "zoe")) == "banned"
    assert code(chat.ask(AddMember, None, user="zoe")) == "banned"


def test_a_ban_ahead_is_no_ended_membership(chat: Chat) -> None:
    chat.ask(RemoveMember, "anna", user="zoe", ban=True)
    assert "zoe" not in chat.group.past


def test_the_unbanned_are_no_members_but_may_join(chat: Chat) -> None:
    assert data(chat.ask(Unban, "anna", user="ben")) == MemberUnbanned(user="ben")
    assert chat.ask(Unban, "anna", user="ben") == Unchanged()
    assert code(chat.ask(Send, "ben", text="t")) == "not_a_member"
    taken(chat.ask(Join, "ben"))


def test_a_ban_ends_only_by_an_unban(chat: Chat) -> None:
    chat.ask(RemoveMember, "olga", user="mike", ban=True)
    assert code(chat.ask(RemoveMember, "olga", user="mike")) == "not_a_member"
    assert code(chat.ask(Join, "mike")) == "banned"


@pytest.mark.parametrize("role", ["reader", "member", "admin"])
def test_an_owner_adds_up_to_admin(role: Role, chat: Chat) -> None:
    assert data(chat.ask(AddMember, "olga", user="new", role=role)) == MemberJoined(user="new", role=role)
    assert chat.role("new") == role


def test_an_equal_role_changes_nothing_not_even_the_owners(chat: Chat) -> None:
    assert chat.ask(SetRole, "olga", user="mike", role="member") == Unchanged()
    assert chat.ask(SetRole, "olga", user="olga", role="owner") == Unchanged()


def test_a_new_role_holds_from_its_event_on(chat: Chat) -> None:
    assert data(chat.ask(SetRole, "anna", user="mike", role="reader")) == MemberRoleChanged(user="mike", role="reader")
    assert code(chat.ask(Send, "mike", text="t")) == "forbidden"
    chat.ask(SetRole, "anna", user="mike", role="member")
    taken(chat.ask(Send, "mike", text="t"))


@pytest.mark.parametrize("by", ["olga", None])
@pytest.mark.parametrize("heir", ["anna", "mike", "rita"])
def test_a_transfer_names_both_and_makes_the_old_owner_an_admin(by: str | None, heir: str, chat: Chat) -> None:
    changed = data(chat.ask(SetRole, by, user=heir, role="owner"))
    assert changed == MemberRoleChanged(user=heir, role="owner", former="olga")
    assert (owner_of(chat.group), chat.role("olga")) == (heir, "admin")


def test_the_old_owner_has_lost_the_right_to_transfer_back(chat: Chat) -> None:
    chat.ask(SetRole, "olga", user="mike", role="owner")
    assert code(chat.ask(SetRole, "olga", user="olga", role="owner")) == "forbidden"


def test_an_owner_lowering_the_own_role_is_the_last_owner(chat: Chat) -> None:
    for role in ("admin", "member", "reader"):
        assert code(chat.ask(SetRole, "olga", user="olga", role=role)) == "last_owner"


def test_an_admin_may_lower_itself_but_no_other_admin(chat: Chat) -> None:
    assert code(chat.ask(SetRole, "anna", user="adam", role="reader")) == "forbidden"
    assert data(chat.ask(SetRole, "anna", user="anna", role="member")).role == "member"


def test_an_authority_removes_anyone_and_names_the_next_owner_in_the_same_event(chat: Chat) -> None:
    assert data(chat.ask(RemoveMember, None, user="anna")) == MemberRemoved(user="anna", banned=False)
    removed = data(chat.ask(RemoveMember, None, user="olga", ban=True))
    assert removed == MemberRemoved(user="olga", banned=True, owner="adam")
    assert chat.role("adam") == "owner"


def test_the_heir_is_the_longest_standing_of_the_highest_role(chat: Chat) -> None:
    order = []
    for _ in range(6):
        owner = owner_of(chat.group)
        order.append(data(chat.ask(RemoveMember, None, user=owner)).owner)
    assert order == ["anna", "adam", "mike", "mira", "rita", "rolf"]


def test_who_left_and_came_again_stands_shorter(chat: Chat) -> None:
    chat.ask(RemoveMember, "olga", user="anna")
    chat.ask(AddMember, "olga", user="anna", role="admin")
    assert data(chat.ask(RemoveMember, None, user="olga")).owner == "adam"


def test_standing_is_counted_from_joining_not_from_the_role(chat: Chat) -> None:
    chat.ask(SetRole, "olga", user="rolf", role="admin")
    chat.ask(AddMember, "olga", user="late", role="admin")
    chat.ask(SetRole, "olga", user="anna", role="member")
    chat.ask(SetRole, "olga", user="adam", role="member")
    assert data(chat.ask(RemoveMember, None, user="olga")).owner == "rolf"


def test_the_last_member_has_no_heir() -> None:
    chat = Chat()
    chat.ask(CreateGroup, "olga", name="n", members=(MemberSpec("mike"),))
    chat.ask(RemoveMember, None, user="mike")
    assert data(chat.ask(RemoveMember, None, user="olga")) == MemberRemoved(user="olga", banned=False)


def test_an_authority_neither_joins_nor_leaves_nor_reacts(chat: Chat) -> None:
    seq = chat.post("mike")
    assert fault(chat.ask(Join, None)) == ("invalid", "by")
    assert fault(chat.ask(Leave, None)) == ("invalid", "by")
    assert fault(chat.ask(React, None, seq=seq, emoji="+")) == ("invalid", "by")


def test_members_are_in_the_order_of_joining(chat: Chat) -> None:
    chat.ask(RemoveMember, "olga", user="mike")
    chat.ask(Join, "zoe")
    chat.ask(Join, "mike")
    assert list(chat.group.members) == ["olga", "anna", "adam", "mira", "rita", "rolf", "zoe", "mike"]
