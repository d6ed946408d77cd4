"""Messages, and those that name one: protocol §9, "Targets" and "Nothing changes"."""

from typing import Any

import pytest

from app.domain.commands import (
    AddMember,
    Command,
    Delete,
    Edit,
    Join,
    Leave,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unreact,
    UpdateGroup,
)
from app.domain.events import MessageDeleted, MessageEdited, MessagePosted, ReactionAdded, ReactionRemoved
from app.domain.outcomes import Unchanged
from tests.unit.domain.chat import NOW, Chat, code, data, taken, verdict

NAMING: list[tuple[type[Command], dict[str, Any]]] = [
    (Send, {"text": "t", "reply_to": 0}),
    (Edit, {"text": "t", "seq": 0}),
    (Delete, {"seq": 0}),
    (React, {"emoji": "+", "seq": 0}),
    (Unreact, {"emoji": "+", "seq": 0}),
]


def ask_about(chat: Chat, by: str | None, kind: type[Command], fields: dict[str, Any], seq: int) -> str:
    return verdict(chat.ask(kind, by, **fields | {"reply_to" if kind is Send else "seq": seq}))


def test_a_message_is_what_was_sent(chat: Chat) -> None:
    posted = data(chat.ask(Send, "mike", text="hi", mentions=("olga",), attributes={"a": [1]}))
    assert posted == MessagePosted(text="hi", mentions=("olga",), attributes={"a": [1]})


def test_an_event_says_who_when_and_by_which_key(chat: Chat) -> None:
    event = taken(chat.ask(Send, "mike", text="hi", client_msg_id="m"))
    assert (event.group, event.kind, event.by, event.client_msg_id) == ("g1", "message.posted", "mike", "m")
    assert event.at == "2026-11-25T01:20:00.000Z"


def test_the_instant_is_the_records_and_never_goes_back(chat: Chat) -> None:
    chat.now = NOW + 10_000
    later = taken(chat.ask(Send, "mike", text="a"))
    chat.now = NOW + 5_000
    assert taken(chat.ask(Send, "mike", text="b")).at == later.at == "2026-11-25T01:20:10.000Z"


@pytest.mark.parametrize(("kind", "fields"), NAMING)
def test_what_is_no_message_is_no_target(kind: type[Command], fields: dict[str, Any], chat: Chat) -> None:
    for seq in (0, 1, chat.group.seq, chat.group.seq + 1, 2**53 - 1):
        assert ask_about(chat, "mike", kind, fields, seq) == "no_such_message"


@pytest.mark.parametrize(("kind", "fields"), NAMING)
def test_a_deleted_message_is_no_target(kind: type[Command], fields: dict[str, Any], chat: Chat) -> None:
    seq = chat.post("mike")
    chat.ask(Delete, "mike", seq=seq)
    assert ask_about(chat, "mike", kind, fields, seq) == "no_such_message"


@pytest.mark.parametrize(("kind", "fields"), NAMING)
def test_a_message_that_the_caller_may_not_read_is_no_target(
    kind: type[Command], fields: dict[str, Any], chat: Chat
) -> None:
    chat.ask(UpdateGroup, "olga", history="joined")
    seq = chat.post("mike")
    taken(chat.ask(AddMember, "olga", user="late", role="admin"))
    assert ask_about(chat, "late", kind, fields, seq) == "no_such_message"
    assert ask_about(chat, "mike", kind, fields, seq) in {"ok", "unchanged"}


def test_the_rule_that_was_in_force_when_a_message_was_written_holds_for_it(chat: Chat) -> None:
    public = chat.post("mike")
    chat.ask(UpdateGroup, "olga", history="joined")
    private = chat.post("mike")
    chat.ask(UpdateGroup, "olga", history="all")
    public_again = chat.post("mike")
    chat.ask(Join, "late")
    verdicts = [verdict(chat.ask(React, "late", seq=s, emoji="+")) for s in (public, private, public_again)]
    assert verdicts == ["ok", "no_such_message", "ok"]


def test_who_comes_again_finds_what_was_sent_before_and_not_what_was_sent_between(chat: Chat) -> None:
    chat.ask(UpdateGroup, "olga", history="joined")
    mine = chat.post("mike")
    chat.ask(Leave, "mike")
    between = chat.post("mira")
    chat.ask(Join, "mike")
    assert code(chat.ask(React, "mike", seq=between, emoji="+")) == "no_such_message"
    assert data(chat.ask(Edit, "mike", seq=mine, text="t")) == MessageEdited(target=mine, text="t")


def test_an_authority_finds_every_message(chat: Chat) -> None:
    chat.ask(UpdateGroup, "olga", history="joined")
    seq = chat.post("mike")
    assert data(chat.ask(Send, None, text="t", reply_to=seq)).reply_to == seq
    assert data(chat.ask(Delete, None, seq=seq)) == MessageDeleted(target=seq)


def test_a_reply_says_to_what(chat: Chat) -> None:
    seq = chat.post("mike")
    assert data(chat.ask(Send, "mira", text="t", reply_to=seq)) == MessagePosted(text="t", reply_to=seq)


def test_an_edit_is_the_authors_alone_even_against_the_owner(chat: Chat) -> None:
    seq = chat.post("mike")
    assert code(chat.ask(Edit, "olga", seq=seq, text="t")) == "forbidden"
    assert data(chat.ask(Edit, "mike", seq=seq, text="t")) == MessageEdited(target=seq, text="t")


def test_an_edit_of_an_edit_names_the_message_and_an_edit_is_no_message(chat: Chat) -> None:
    seq = chat.post("mike")
    edit = taken(chat.ask(Edit, "mike", seq=seq, text="t"))
    assert code(chat.ask(Edit, "mike", seq=edit.seq, text="t")) == "no_such_message"
    assert data(chat.ask(Edit, "mike", seq=seq, text="u")).target == seq


def test_an_author_who_became_a_reader_deletes_but_no_longer_edits(chat: Chat) -> None:
    seq = chat.post("mike")
    chat.ask(SetRole, "olga", user="mike", role="reader")
    assert code(chat.ask(Edit, "mike", seq=seq, text="t")) == "forbidden"
    assert data(chat.ask(Delete, "mike", seq=seq)) == MessageDeleted(target=seq)


def test_an_author_who_is_no_member_neither_edits_nor_deletes(chat: Chat) -> None:
    seq = chat.post("mike")
    chat.ask(RemoveMember, "olga", user="mike")
    assert code(chat.ask(Edit, "mike", seq=seq, text="t")) == "not_a_member"
    assert code(chat.ask(Delete, "mike", seq=seq)) == "not_a_member"


def test_a_message_is_deleted_once(chat: Chat) -> None:
    seq = chat.post("mike")
    assert data(chat.ask(Delete, "anna", seq=seq)) == MessageDeleted(target=seq)
    assert code(chat.ask(Delete, "mike", seq=seq)) == "no_such_message"


def test_an_authoritys_message_is_edited_by_an_authority_and_deleted_by_admins(chat: Chat) -> None:
    seq = chat.post(None)
    assert code(chat.ask(Edit, "olga", seq=seq, text="t")) == "forbidden"
    assert code(chat.ask(Delete, "mike", seq=seq)) == "forbidden"
    taken(chat.ask(Edit, None, seq=seq, text="t"))
    taken(chat.ask(Delete, "anna", seq=seq))


def test_a_reaction_is_there_once_a_user_and_emoji(chat: Chat) -> None:
    seq = chat.post("mike")
    assert data(chat.ask(React, "rita", seq=seq, emoji="👍")) == ReactionAdded(target=seq, emoji="👍")
    assert chat.ask(React, "rita", seq=seq, emoji="👍") == Unchanged()
    taken(chat.ask(React, "rolf", seq=seq, emoji="👍"))
    taken(chat.ask(React, "rita", seq=seq, emoji="👎"))


def test_taking_back_a_reaction_that_is_not_there_changes_nothing(chat: Chat) -> None:
    seq = chat.post("mike")
    chat.ask(React, "rita", seq=seq, emoji="👍")
    assert chat.ask(Unreact, "rolf", seq=seq, emoji="👍") == Unchanged()
    assert chat.ask(Unreact, "rita", seq=seq, emoji="👎") == Unchanged()
    assert data(chat.ask(Unreact, "rita", seq=seq, emoji="👍")) == ReactionRemoved(target=seq, emoji="👍")
    assert chat.ask(Unreact, "rita", seq=seq, emoji="👍") == Unchanged()
    taken(chat.ask(React, "rita", seq=seq, emoji="👍"))
