"""From a client's text to a request, at the edges."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.commands import (
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    MemberSpec,
    React,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.outcomes import Rejection
from tests.unit.web.asking import nested
from web.frames import reply_ok
from web.requests import (
    History,
    MalformedError,
    Members,
    Request,
    State,
    Subscribe,
    SubscribeMany,
    Unsubscribe,
    parse,
    to_ask,
    to_command,
)

CALLER: dict[str, Any] = {"id": "gw-1", "group": "g", "by": "alice", "origin": "gw", "client_msg_id": "c"}
FIRST = Subscribe(group="g", state=False)


def command(request: Request) -> Any:
    return to_command(request, command_id="gw-1", user="alice", origin="gw")


@given(st.text())
def test_no_text_whatever_raises_anything_else(text: str) -> None:
    try:
        parse(text)
    except MalformedError:
        pass


def test_what_is_not_looked_at_may_be_deep_or_large_but_holds_no_text_that_is_none() -> None:
    assert parse('{"type":"ping","id":1,"x":' + nested(70) + ',"y":1e400}').refusal is None
    assert parse('{"type":"send","id":1,"by":' + nested(70) + "}").refusal is None
    refused = parse('{"type":"ping","id":1,"x":["\\ud800"]}').refusal
    assert refused is not None
    assert (refused.code, refused.field) == ("invalid", "x")


@pytest.mark.parametrize("number", ["1e3", "1E+2", "1.0", "-0.0", "1e-400", "0.12345678901234567890", "1" * 300])
def test_a_numbers_spelling_is_the_clients(number: str) -> None:
    for field in ('"id"', '"\\u0069d"'):
        request = parse(f'{{"type":"ping",{field}:{number}}}')
        assert reply_ok(request.id).endswith(f'"id":{number},"ok":true}}'.encode())


@pytest.mark.parametrize("other", ['"\\ud800"', "1e400", nested(70), nested(30_000), '"\\u0000"'])
def test_a_numbers_value_is_kept_whatever_else_is_wrong(other: str) -> None:
    request = parse(f'{{"x":{other},"type":"ping","id":1.5}}')
    assert b'"id":1.5,' in reply_ok(request.id)


def test_a_deep_value_keeps_the_id_of_its_request() -> None:
    request = parse('{"type":"send","id":7,"attributes":{"a":' + nested(70) + '},"text":"x"}')
    assert request.id == 7
    assert request.refusal is not None
    assert request.refusal.field == "attributes"


def test_a_bad_name_of_a_field_is_refused_in_characters_that_can_be_sent() -> None:
    request = parse('{"type":"send","id":7,"a\\ud800b":1}')
    assert request.refusal is not None
    assert request.refusal.field == "a?b"


def test_null_counts_as_absent() -> None:
    sent = command(parse('{"type":"send","id":1,"group":"g","text":"x","client_msg_id":"c","mentions":null}'))
    assert isinstance(sent, Send)
    asked = to_ask(parse('{"type":"subscribe","id":1,"group":"g","after":null}'))
    assert asked == Subscribe(group="g")


def test_a_command_is_the_users_whatever_the_request_claims() -> None:
    made = command(
        parse('{"type":"create_group","id":1,"by":"eve","origin":"x","group":"g","name":"G","members":[{"user":"b"}]}')
    )
    assert made == CreateGroup(id="gw-1", by="alice", origin="gw", group="g", name="G", members=(MemberSpec("b"),))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('{"type":"update_group","topic":"","join":"open"}', UpdateGroup(**CALLER, topic="", join="open")),
        ('{"type":"update_group","history":"joined"}', UpdateGroup(**CALLER, history="joined")),
        ('{"type":"update_group","name":null,"colour":"red"}', UpdateGroup(**CALLER)),
        ('{"type":"delete_group"}', DeleteGroup(**CALLER)),
        ('{"type":"unban","user":"bob"}', Unban(**CALLER, user="bob")),
        ('{"type":"set_role","user":"bob","role":"owner"}', SetRole(**CALLER, user="bob", role="owner")),
        ('{"type":"edit","seq":2,"text":"x"}', Edit(**CALLER, seq=2, text="x")),
        ('{"type":"delete","seq":9007199254740991}', Delete(**CALLER, seq=2**53 - 1)),
        ('{"type":"react","seq":0,"emoji":"👍"}', React(**CALLER, seq=0, emoji="👍")),
        ('{"type":"unreact","seq":2,"emoji":"x"}', Unreact(**CALLER, seq=2, emoji="x")),
    ],
)
def test_each_changing_request_becomes_its_command(text: str, made: Command) -> None:
    frame = json.loads(text) | {"id": 1, "group": "g", "client_msg_id": "c", "unknown": 1}
    assert command(parse(json.dumps(frame))) == made


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "update_group", "name": ""}, "name"),
        ({"type": "update_group", "name": "x" * 257}, "name"),
        ({"type": "update_group", "topic": "x" * 1025}, "topic"),
        ({"type": "update_group", "join": "never"}, "join"),
        ({"type": "update_group", "history": "none"}, "history"),
        ({"type": "delete_group", "group": ""}, "group"),
        ({"type": "delete_group", "client_msg_id": ""}, "client_msg_id"),
        ({"type": "delete_group", "client_msg_id": "x" * 65}, "client_msg_id"),
        ({"type": "unban"}, "user"),
        ({"type": "unban", "user": " bob"}, "user"),
        ({"type": "set_role", "user": "bob"}, "role"),
        ({"type": "set_role", "user": "bob", "role": "god"}, "role"),
        ({"type": "set_role", "role": "admin"}, "user"),
        ({"type": "add_member", "user": "bob", "role": "owner"}, "role"),
        ({"type": "edit", "text": "x"}, "seq"),
        ({"type": "edit", "seq": 2}, "text"),
        ({"type": "edit", "seq": 2, "text": ""}, "text"),
        ({"type": "edit", "seq": 2, "text": None}, "text"),
        ({"type": "react", "seq": 2}, "emoji"),
        ({"type": "react", "seq": 2, "emoji": ""}, "emoji"),
        ({"type": "react", "seq": 2, "emoji": "x" * 65}, "emoji"),
        ({"type": "unreact", "seq": 2, "emoji": 5}, "emoji"),
        *(({"type": "delete", "seq": seq}, "seq") for seq in (-1, 2**53, 2.0, 1.5, True, "1", None, [], math.pi)),
        ({"type": "edit", "seq": -1, "text": "x"}, "seq"),
        ({"type": "react", "seq": 2**53, "emoji": "x"}, "seq"),
    ],
)
def test_a_bad_field_of_a_change_is_named(fields: dict[str, Any], field: str) -> None:
    refused = command(parse(json.dumps({"id": 1, "group": "g", **fields})))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", field)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ([{"user": "a"}, {"user": "b"}, {"user": "c"}, {"user": "d", "role": "god"}], "members[3].role"),
        ([{"user": "a"}, {"role": "member"}], "members[1]"),
        ([{"user": 5}], "members[0].user"),
        (["a"], "members[0]"),
        ({}, "members"),
        (5, "members"),
    ],
)
def test_a_fault_within_a_field_is_named_by_the_field_and_its_place_is_told(members: Any, path: str) -> None:
    refused = command(Request(1, "create_group", {"group": "g", "name": "G", "members": members}))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field, refused.message.split(": ")[0]) == ("invalid", "members", path)


def test_what_a_client_writes_into_a_value_names_no_field() -> None:
    for word in ("x - at `$.name`", "x - at `$.name", "Object missing required field `name`"):
        refused = command(Request(1, "set_role", {"group": "g", "user": "u", "role": word}))
        assert isinstance(refused, Rejection)
        assert refused.field == "role"


def test_a_refusal_repeats_little_of_what_was_sent() -> None:
    refused = command(Request(1, "set_role", {"group": "g", "user": "u", "role": "x" * 60_000}))
    assert isinstance(refused, Rejection)
    assert len(refused.message) < 300


def test_null_counts_as_absent_in_lists_too() -> None:
    made = command(parse('{"type":"create_group","id":1,"group":"g","name":"G","members":[{"user":"b","role":null}]}'))
    assert made.members == (MemberSpec("b"),)
    asked = to_ask(parse('{"type":"subscribe","id":1,"groups":[{"group":"a","after":null,"last":2}]}'))
    assert asked == SubscribeMany((Subscribe(group="a", last=2, state=False),))


@pytest.mark.parametrize(
    ("kind", "fields", "asked"),
    [
        ("subscribe", {"after": 1, "log": "l"}, Subscribe(group="g", after=1, log="l")),
        ("subscribe", {"groups": [{"group": "g", "x": 1}], "group": None}, SubscribeMany((FIRST,))),
        ("unsubscribe", {}, Unsubscribe("g")),
        ("history", {"limit": 200}, History(group="g", limit=200)),
        ("history", {}, History(group="g", limit=50)),
        ("state", {}, State("g")),
        ("members", {"cursor": "9007199254740991.0"}, Members(group="g", cursor="9007199254740991.0")),
    ],
)
def test_unknown_fields_of_a_question_are_ignored(kind: str, fields: dict[str, Any], asked: Any) -> None:
    assert (
        to_ask(parse(json.dumps({"type": kind, "id": 1, "group": "g", "colour": [], "members": 1} | fields))) == asked
    )


@pytest.mark.parametrize(
    "cursor", ["", "x", "1", "1.", ".1", "-1.0", "1.0 ", "\uff11.0", "9" * 17 + ".0", "9" * 60_000]
)
def test_a_cursor_that_no_answer_gave_is_invalid_before_anything_is_asked(cursor: str) -> None:
    refused = to_ask(Request(1, "members", {"group": "g", "cursor": cursor}))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", "cursor")


@pytest.mark.parametrize("kind", ["send", "edit"])
@pytest.mark.parametrize(("text_bytes", "code"), [(16_384, None), (16_385, "too_large")])
def test_an_over_long_text_is_too_large(kind: str, text_bytes: int, code: str | None) -> None:
    request = Request(1, kind, {"group": "g", "text": "é" * (text_bytes // 2) + "a" * (text_bytes % 2)})
    request.fields.update({"client_msg_id": "c"} if kind == "send" else {"seq": 2})
    made = command(request)
    assert (made.code if isinstance(made, Rejection) else None) == code


def test_a_batch_keeps_each_entrys_own_fault() -> None:
    asked = to_ask(parse('{"type":"subscribe","id":1,"groups":[{"group":"a","last":2},{"group":"b","after":-1}]}'))
    assert isinstance(asked, SubscribeMany)
    good, (group, refusal) = asked.items  # type: ignore[misc]
    assert good == Subscribe(group="a", last=2, state=False)
    assert (group, refusal.field) == ("b", "after")


def test_a_batch_has_at_most_a_hundred_groups() -> None:
    hundred = {"groups": [{"group": str(i)} for i in range(100)]}
    assert isinstance(to_ask(Request(1, "subscribe", hundred)), SubscribeMany)
    hundred["groups"].append({"group": "x"})
    assert isinstance(to_ask(Request(1, "subscribe", hundred)), Rejection)


@pytest.mark.parametrize("seq", [0, 2**53 - 1])
def test_the_ends_of_a_seqs_range_are_taken(seq: int) -> None:
    assert to_ask(Request(1, "subscribe", {"group": "g", "after": seq})) == Subscribe(group="g", after=seq)


def test_the_state_may_be_asked_at_a_seq_and_members_page_by_page() -> None:
    assert to_ask(Request(1, "state", {"group": "g"})) == State(group="g")
    assert to_ask(Request(1, "state", {"group": "g", "at_seq": 7})) == State(group="g", at_seq=7)
    assert to_ask(Request(1, "members", {"group": "g"})) == Members(group="g", limit=1000)
    asked = to_ask(Request(1, "members", {"group": "g", "limit": 1, "cursor": "7.0"}))
    assert asked == Members(group="g", limit=1, cursor="7.0")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "state", "at_seq": -1}, "at_seq"),
        ({"type": "state", "at_seq": 2**53}, "at_seq"),
        ({"type": "state", "at_seq": "7"}, "at_seq"),
        ({"type": "members", "limit": 0}, "limit"),
        ({"type": "members", "limit": 1001}, "limit"),
        ({"type": "members", "cursor": 7}, "cursor"),
    ],
)
def test_a_bad_field_of_a_question_is_named(fields: dict[str, Any], field: str) -> None:
    refused = to_ask(parse(json.dumps({"id": 1, "group": "g", **fields})))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", field)


@pytest.mark.parametrize("seq", [-1, 2**53, 1.0, 1.5, True, "1", [], math.pi])
def test_what_is_no_seq_is_invalid(seq: Any) -> None:
    refused = to_ask(Request(1, "history", {"group": "g", "after": seq}))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("invalid", "after")
