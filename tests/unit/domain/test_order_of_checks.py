"""Who may what, and which refusal comes first (protocol §2, the column "who"; §9, "Checks in this order")."""

import typing
from typing import Any

import pytest

from app.domain.commands import (
    AddMember,
    AnyCommand,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from tests.unit.domain.chat import Chat, code, taken, usual_chat, verdict

ALL: tuple[type[Command], ...] = typing.get_args(AnyCommand)

CALLERS: dict[str, str | None] = {
    "stranger": "zoe",
    "banned": "ben",
    "reader": "rita",
    "member": "mike",
    "admin": "anna",
    "owner": "olga",
    "authority": None,
}

# A request of each kind that is in order, but for who asks. "own" and "other" name messages: the caller's own, and
# mira's. Each line's words are the outcome for the callers in the order above.
WHO: list[tuple[type[Command], dict[str, Any], str]] = [
    (CreateGroup, {"name": "n"}, "already_exists banned " + "already_exists " * 5),
    (UpdateGroup, {"name": "New"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (UpdateGroup, {"join": "invite"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (UpdateGroup, {"history": "joined"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (UpdateGroup, {}, "not_a_member banned forbidden forbidden unchanged unchanged unchanged"),
    (DeleteGroup, {}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (Join, {}, "ok banned already_a_member already_a_member already_a_member already_a_member invalid"),
    (Leave, {}, "not_a_member banned ok ok ok last_owner invalid"),
    (AddMember, {"user": "new"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (AddMember, {"user": "new", "role": "reader"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (AddMember, {"user": "new", "role": "admin"}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (AddMember, {"user": "new", "role": "owner"}, "invalid " * 7),
    (AddMember, {"user": "mira"}, "not_a_member banned forbidden forbidden" + " already_a_member" * 3),
    (AddMember, {"user": "bea"}, "not_a_member banned forbidden forbidden banned banned banned"),
    (RemoveMember, {"user": "rolf"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (RemoveMember, {"user": "mira"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (RemoveMember, {"user": "mira", "ban": True}, "not_a_member banned forbidden forbidden ok ok ok"),
    (RemoveMember, {"user": "adam"}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (RemoveMember, {"user": "olga"}, "not_a_member banned forbidden forbidden forbidden invalid ok"),
    (RemoveMember, {"user": "new"}, "not_a_member banned forbidden forbidden" + " not_a_member" * 3),
    (RemoveMember, {"user": "new", "ban": True}, "not_a_member banned forbidden forbidden ok ok ok"),
    (RemoveMember, {"user": "bea", "ban": True}, "not_a_member banned forbidden forbidden" + " unchanged" * 3),
    (Unban, {"user": "bea"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (Unban, {"user": "mira"}, "not_a_member banned forbidden forbidden unchanged unchanged unchanged"),
    (SetRole, {"user": "mira", "role": "reader"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (SetRole, {"user": "rolf", "role": "member"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (SetRole, {"user": "mira", "role": "member"}, "not_a_member banned forbidden forbidden" + " unchanged" * 3),
    (SetRole, {"user": "mira", "role": "admin"}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (SetRole, {"user": "mira", "role": "owner"}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (SetRole, {"user": "adam", "role": "member"}, "not_a_member banned forbidden forbidden forbidden ok ok"),
    (SetRole, {"user": "olga", "role": "member"}, "not_a_member banned" + " forbidden" * 3 + " last_owner" * 2),
    (SetRole, {"user": "new", "role": "member"}, "not_a_member banned forbidden forbidden" + " not_a_member" * 3),
    (Send, {"text": "t", "client_msg_id": "k"}, "not_a_member banned forbidden ok ok ok ok"),
    (Send, {"text": "t", "client_msg_id": "k", "reply_to": "other"}, "not_a_member banned forbidden ok ok ok ok"),
    (Edit, {"seq": "own", "text": "t"}, "not_a_member banned forbidden ok ok ok ok"),
    (Edit, {"seq": "other", "text": "t"}, "not_a_member banned" + " forbidden" * 5),
    (Delete, {"seq": "own"}, "not_a_member banned ok ok ok ok ok"),
    (Delete, {"seq": "other"}, "not_a_member banned forbidden forbidden ok ok ok"),
    (React, {"seq": "other", "emoji": "+"}, "not_a_member banned ok ok ok ok invalid"),
    (Unreact, {"seq": "other", "emoji": "+"}, "not_a_member banned" + " unchanged" * 4 + " invalid"),
    (PruneHistory, {"through": 1}, "not_a_member banned forbidden forbidden forbidden forbidden ok"),
]  # fmt: skip

TABLE = [
    pytest.param(kind, fields, role, word, id=f"{kind.__struct_config__.tag}-{fields}-{role}")
    for kind, fields, words in WHO
    for role, word in zip(CALLERS, words.split(), strict=True)
]

# One request of each kind, whose fields are in order.
PLAIN: dict[type[Command], dict[str, Any]] = {}
for _kind, _fields, _ in WHO:
    PLAIN.setdefault(_kind, {k: 1 if k == "seq" else v for k, v in _fields.items()})


def test_the_table_has_every_request() -> None:
    assert set(PLAIN) == set(ALL)


@pytest.mark.parametrize(("kind", "fields", "role", "word"), TABLE)
def test_who_may_what(kind: type[Command], fields: dict[str, Any], role: str, word: str) -> None:
    chat, by = usual_chat(), CALLERS[role]
    seqs = {"other": chat.post("mira"), "own": authored(chat, by)}
    asked = {name: seqs.get(value, value) if name in {"seq", "reply_to"} else value for name, value in fields.items()}
    assert verdict(chat.ask(kind, by, **asked)) == word


def authored(chat: Chat, by: str | None) -> int:
    """A message that `by` wrote, when that was allowed."""
    if by is None:
        return chat.post(None)
    chat.post("mira")
    chat._authors[chat.group.seq] = by
    return chat.group.seq


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("by", CALLERS.values())
def test_before_a_group_is_created_there_is_none_for_anybody(kind: type[Command], by: str | None) -> None:
    word = verdict(Chat().ask(kind, by, **PLAIN[kind]))
    assert word == ("ok" if kind is CreateGroup else "no_such_group")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("by", CALLERS.values())
def test_a_deleted_group_is_none_for_anybody_until_it_is_created_again(kind: type[Command], by: str | None) -> None:
    chat = usual_chat()
    taken(chat.ask(DeleteGroup, "olga"))
    word = verdict(chat.ask(kind, by, **PLAIN[kind]))
    assert word == ("ok" if kind is CreateGroup else "no_such_group")


@pytest.mark.parametrize("kind", ALL)
def test_fields_come_before_the_group_and_before_the_key(kind: type[Command], chat: Chat) -> None:
    asked = PLAIN[kind] | {"client_msg_id": "k" * 65}
    assert code(Chat().ask(kind, "zoe", **asked)) == "invalid"
    assert code(chat.ask(kind, "ben", **asked)) == "invalid"


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not Send])
def test_the_key_comes_before_membership_and_role(kind: type[Command], chat: Chat) -> None:
    chat.ask(Send, "mike", text="one", client_msg_id="k")
    chat.ask(RemoveMember, "olga", user="mike", ban=True)
    assert code(chat.ask(kind, "mike", **PLAIN[kind] | {"client_msg_id": "k"})) == "conflict"


def test_the_group_comes_before_the_key(chat: Chat) -> None:
    chat.ask(Send, "mike", text="one", client_msg_id="k")
    assert code(Chat("another").ask(Send, "mike", text="one", client_msg_id="k")) == "no_such_group"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Send, {"text": "t", "reply_to": 99}),
        (Edit, {"seq": 99, "text": "t"}),
        (AddMember, {"user": "bea"}),
        (AddMember, {"user": "mike"}),
        (RemoveMember, {"user": "nobody"}),
        (SetRole, {"user": "nobody", "role": "member"}),
        (SetRole, {"user": "olga", "role": "member"}),
        (Unban, {"user": "nobody"}),
        (UpdateGroup, {"name": "Group"}),
        (PruneHistory, {"through": 99}),
    ],
)
def test_the_role_comes_before_the_rest(kind: type[Command], fields: dict[str, Any], chat: Chat) -> None:
    assert code(chat.ask(kind, "rita", **fields)) == "forbidden"


def test_an_admins_reach_comes_before_what_is_there(chat: Chat) -> None:
    assert code(chat.ask(AddMember, "anna", user="ben", role="admin")) == "forbidden"
    assert code(chat.ask(SetRole, "anna", user="nobody", role="owner")) == "forbidden"


def test_a_message_that_is_not_there_comes_before_whose_it_is(chat: Chat) -> None:
    seq = chat.post("mira")
    chat.ask(Delete, "mira", seq=seq)
    assert code(chat.ask(Edit, "mike", seq=seq, text="t")) == "no_such_message"
    assert code(chat.ask(Delete, "mike", seq=seq)) == "no_such_message"
