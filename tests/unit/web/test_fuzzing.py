"""Any text is a request, the refusal of a field, or malformed: just what a naive reading of the protocol says."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import rules
from app.domain.commands import COMMANDS, Command, decode_command, encode_command
from app.domain.outcomes import Rejection
from tests.support import hostile
from web.frames import reply_error, reply_ok
from web.requests import TYPES, MalformedError, Request, parse, to_ask, to_command


def served(request: Request) -> Any:
    """What a session makes of a request that parses."""
    if request.refusal is not None:
        return request.refusal
    if request.type in COMMANDS:
        return to_command(request, command_id="gw-1", user="alice", origin="gw")
    return to_ask(request)


def replied(request: Request, refusal: Any) -> dict[str, Any]:
    frame = reply_error(request.id, refusal) if isinstance(refusal, Rejection) else reply_ok(request.id)
    reply: dict[str, Any] = json.loads(frame[frame.index(b'{"type":"reply"') :])
    return reply


def hold_against_the_naive_reading(text: str) -> None:
    expected = hostile.read(text, TYPES)
    try:
        request = parse(text)
    except MalformedError:
        assert expected is None or expected.malformed
        return
    made = served(request)
    reply = replied(request, made)
    if isinstance(made, Rejection):
        assert made.code in {"invalid", "too_large"}
        assert made.field
    elif isinstance(made, Command):
        assert rules.check(made) is None
        assert (made.by, made.id, made.origin) == ("alice", "gw-1", "gw")
        assert decode_command(encode_command(made)) == made
    if expected is not None:
        assert not expected.malformed
        assert reply["id"] == expected.id
        assert type(reply["id"]) is type(expected.id)
        assert reply["ok"] is expected.good


@settings(max_examples=1_500, deadline=None)
@given(st.integers(0, 2**64))
def test_any_request_is_read_as_a_naive_reading_of_the_protocol_says(seed: int) -> None:
    hold_against_the_naive_reading(hostile.frame(Random(seed)))


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "ignore"))))
def test_any_text_is_read_as_a_naive_reading_of_the_protocol_says(text: str) -> None:
    hold_against_the_naive_reading(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
fields = st.dictionaries(
    st.sampled_from([*{name for of in hostile.GOOD.values() for name in of}, "client_msg_id", "groups", "last", "by"]),
    json_values,
    max_size=6,
)


@given(st.sampled_from(sorted(hostile.GOOD)), json_values, fields)
def test_any_fields_are_read_as_a_naive_reading_of_the_protocol_says(kind: str, request_id: Any, given: Any) -> None:
    hold_against_the_naive_reading(json.dumps({"type": kind, "id": request_id, **given}))


@pytest.mark.parametrize("kind", sorted(hostile.GOOD))
def test_what_is_good_is_good_and_fuzzing_begins_there(kind: str) -> None:
    pairs = {"type": json.dumps(kind), "id": "1", **hostile.GOOD[kind]}
    text = "{" + ",".join(f'"{name}":{value}' for name, value in pairs.items()) + "}"
    assert hostile.read(text, TYPES) == hostile.Reading(id=1, good=kind != "nonsense")
    hold_against_the_naive_reading(text)


def test_the_fuzzed_requests_are_all_that_there_are() -> None:
    assert set(hostile.GOOD) - {"nonsense"} == TYPES - {"auth"}


@pytest.mark.parametrize("depth", [500, 5_000, 16_000])
def test_no_depth_is_an_accident(depth: int) -> None:
    for deep in ("[" * depth + "]" * depth, '{"a":' * (depth // 4) + "1" + "}" * (depth // 4), "[" * depth):
        for text in (deep, f'{{"type":"send","id":1.5,"attributes":{deep}}}', f'{{"type":{deep},"id":{deep}}}'):
            try:
                request = parse(text)
            except MalformedError:
                continue
            assert replied(request, served(request))["error"]["code"] == "invalid"
