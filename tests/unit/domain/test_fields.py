"""What a field may hold (protocol §2, "Ids"; §9, "Limits"): at each limit, and one step beyond it."""

from typing import Any

import msgspec
import pytest

from app.domain import rules
from app.domain.commands import (
    AddMember,
    Command,
    CreateGroup,
    Delete,
    Edit,
    Join,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
    decode_command,
    split_array,
)
from app.domain.outcomes import Rejection

BAD_IDS = [
    "",
    "a" * 129,
    "é" * 65,
    "a\x00b",
    "a\nb",
    "a\x7fb",
    " a",
    "a ",
    "a\u00a0",
    "\u2003a",
    ".",
    "..",
    "\u0085",
    "a\ud800",
]
GOOD_IDS = ["a/b", "100%", "🎉" * 32, "é", "e\u0301", "...", ".a", "a b", "a" * 128, "\u200b", "\ufeffa", "A"]
BAD_TEXT = ["a\x00b", "\ud800", "a\udfff"]


def made(kind: type[Command], **fields: Any) -> Any:
    least: dict[type[Command], dict[str, Any]] = {
        CreateGroup: {"name": "n"},
        AddMember: {"user": "u"},
        RemoveMember: {"user": "u"},
        Unban: {"user": "u"},
        SetRole: {"user": "u", "role": "member"},
        Send: {"text": "t", "client_msg_id": "k"},
        Edit: {"seq": 1, "text": "t"},
        Delete: {"seq": 1},
        React: {"seq": 1, "emoji": "+"},
        Unreact: {"seq": 1, "emoji": "+"},
        PruneHistory: {"through": 1},
    }
    return kind(**{"id": "c", "group": "g", "by": "zoe"} | least.get(kind, {}) | fields)


def fault(command: Command) -> tuple[str, str | None] | None:
    refused = rules.check(command)
    return refused and (refused.code, refused.field)


ID_FIELDS = [(Join, "group"), (Join, "by"), (AddMember, "user"), (RemoveMember, "user"), (Unban, "user")]
ID_FIELDS += [(SetRole, "user")]


@pytest.mark.parametrize(("kind", "field"), ID_FIELDS)
@pytest.mark.parametrize("value", BAD_IDS)
def test_ids_that_are_refused(kind: type[Command], field: str, value: str) -> None:
    assert fault(made(kind, **{field: value})) == ("invalid", field)


@pytest.mark.parametrize(("kind", "field"), ID_FIELDS)
@pytest.mark.parametrize("value", GOOD_IDS)
def test_ids_that_are_taken_byte_for_byte(kind: type[Command], field: str, value: str) -> None:
    assert fault(made(kind, **{field: value})) is None


@pytest.mark.parametrize("value", BAD_IDS)
def test_ids_in_lists_are_ids(value: str) -> None:
    assert fault(made(CreateGroup, members=(MemberSpec("fine"), MemberSpec(value)))) == ("invalid", "members")
    assert fault(made(Send, mentions=("fine", value))) == ("invalid", "mentions")


# (kind, field, the longest value, the code of one byte more, whether it may be empty)
TEXTS: list[tuple[type[Command], str, int, str, bool]] = [
    (CreateGroup, "name", 256, "invalid", False),
    (CreateGroup, "topic", 1024, "invalid", True),
    (UpdateGroup, "name", 256, "invalid", False),
    (UpdateGroup, "topic", 1024, "invalid", True),
    (Send, "text", 16_384, "too_large", False),
    (Edit, "text", 16_384, "too_large", False),
    (React, "emoji", 64, "invalid", False),
    (Unreact, "emoji", 64, "invalid", False),
    (Send, "client_msg_id", 64, "invalid", False),
    (Join, "client_msg_id", 64, "invalid", False),
    (PruneHistory, "client_msg_id", 64, "invalid", False),
]


@pytest.mark.parametrize(("kind", "field", "limit", "code", "empty"), TEXTS)
def test_a_text_is_counted_in_bytes(kind: type[Command], field: str, limit: int, code: str, empty: bool) -> None:
    for longest in ("a" * limit, "é" * (limit // 2), "🎉" * (limit // 4)):
        assert fault(made(kind, **{field: longest})) is None
        assert fault(made(kind, **{field: longest + "a"})) == (code, field)
    assert fault(made(kind, **{field: ""})) == (None if empty else ("invalid", field))


@pytest.mark.parametrize(("kind", "field", "limit", "code", "empty"), TEXTS)
@pytest.mark.parametrize("value", BAD_TEXT)
def test_a_text_that_cannot_be_stored_is_refused_wherever_it_stands(
    kind: type[Command], field: str, limit: int, code: str, empty: bool, value: str
) -> None:
    assert fault(made(kind, **{field: value})) == ("invalid", field)


@pytest.mark.parametrize(("kind", "field", "limit", "code", "empty"), TEXTS)
def test_other_control_characters_are_text(kind: type[Command], field: str, limit: int, code: str, empty: bool) -> None:
    assert fault(made(kind, **{field: "a\n\tb\x7f "})) is None


SEQS: list[tuple[type[Command], str]] = [
    (Send, "reply_to"),
    (Edit, "seq"),
    (Delete, "seq"),
    (React, "seq"),
    (Unreact, "seq"),
    (PruneHistory, "through"),
]


@pytest.mark.parametrize(("kind", "field"), SEQS)
def test_a_seq_is_from_0_below_2_to_the_53rd(kind: type[Command], field: str) -> None:
    assert [fault(made(kind, **{field: seq})) for seq in (0, 1, 2**53 - 1)] == [None] * 3
    assert [fault(made(kind, **{field: seq})) for seq in (-1, 2**53, 10**30)] == [("invalid", field)] * 3


@pytest.mark.parametrize("value", ["1.5", "true", '"1"', "[]", "{}"])
def test_a_seq_that_is_no_integer_is_no_command(value: str) -> None:
    raw = f'{{"type":"delete","id":"c","group":"g","by":"zoe","seq":{value}}}'
    with pytest.raises(msgspec.ValidationError, match=r"\$\.seq"):
        decode_command(raw.encode())


def test_a_hundred_mentions_and_one_more() -> None:
    assert fault(made(Send, mentions=tuple(f"u{n}" for n in range(100)))) is None
    assert fault(made(Send, mentions=tuple(f"u{n}" for n in range(101)))) == ("invalid", "mentions")


def test_attributes_are_measured_as_compact_json() -> None:
    frame = len('{"a":""}')
    assert fault(made(Send, attributes={"a": "x" * (4096 - frame)})) is None
    assert fault(made(Send, attributes={"a": "x" * (4097 - frame)})) == ("too_large", "attributes")
    assert fault(made(Send, attributes={"a": "é" * 2044})) is None
    assert fault(made(Send, attributes={"a": "é" * 2045})) == ("too_large", "attributes")


@pytest.mark.parametrize("value", BAD_TEXT)
def test_attributes_hold_no_text_that_cannot_be_stored_at_any_depth(value: str) -> None:
    for attributes in ({value: 1}, {"a": value}, {"a": [{"b": [value]}]}, {"a": {"b": {value: 1}}}):
        assert fault(made(Send, attributes=attributes)) == ("invalid", "attributes")


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_attributes_are_nested_as_deeply_as_every_reader_can_follow() -> None:
    assert fault(made(Send, attributes={"a": nested(63)})) is None
    for levels in (64, 300, 5_000):
        assert fault(made(Send, attributes={"a": nested(levels)})) == ("invalid", "attributes")


@pytest.mark.parametrize("depth", [1_500, 50_000])
def test_json_that_never_seems_to_end_is_no_command_and_no_accident(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    with pytest.raises(msgspec.DecodeError):
        decode_command(b'{"type":"send","id":"c","group":"g","by":"zoe","attributes":{"a":' + deep + b"}}")
    with pytest.raises(msgspec.DecodeError):
        split_array(deep)


def test_the_owner_is_nobodys_to_give_at_the_door() -> None:
    assert fault(made(AddMember, role="owner")) == ("invalid", "role")
    assert fault(made(CreateGroup, members=(MemberSpec("u", "owner"),))) == ("invalid", "members")
    assert fault(made(CreateGroup, members=(MemberSpec("zoe", "owner"),))) is None
    assert fault(made(SetRole, role="owner")) is None


def test_an_authority_has_no_id_and_needs_none() -> None:
    assert fault(made(RemoveMember, by=None)) is None


def test_a_refusal_says_what_to_do_and_the_same_request_will_not_succeed_later() -> None:
    refused = rules.check(made(CreateGroup, name=""))
    assert refused == Rejection("invalid", "name: must be 1 to 256 bytes of UTF-8", field="name", temporary=False)
