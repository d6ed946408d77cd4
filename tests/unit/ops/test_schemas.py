"""The JSON Schemas in the documents: what the types say today, and what every record that was ever written is."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from app.cli.schema_rules import OPTIONAL_HEADERS
from app.cli.schemas import schemas, written
from app.domain import rules
from app.domain.commands import AnyCommand, decode_command
from app.domain.events import KINDS, decode_event
from app.log.records import Claim
from app.reads import OwnerRecord

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "schemas"
GOLDEN = ROOT / "tests" / "golden"
SCHEMAS = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
NAMES = {kind.__struct_config__.tag: kind.__name__ for kind in AnyCommand.__args__}
COMMANDS = list(NAMES)


@cache
def validator(name: str, part: str | None) -> Draft202012Validator:
    schema = SCHEMAS[name]
    if part is not None:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    return Draft202012Validator(schema)


def holds(name: str, value: Any, part: str | None = None) -> bool:
    """Whether `value` is what a schema, or one of its parts, says."""
    return bool(validator(name, part).is_valid(value))


def lines(topic: str) -> Iterator[tuple[dict[str, str], Any]]:
    """Headers and value of each record that a version of the code wrote."""
    for path in sorted(GOLDEN.glob(f"*/{topic}.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            yield dict(record.get("headers", ())), json.loads(record["value"])


CLAIMS = [value for headers, value in lines("events") if headers["kind"] == "claim"]
EVENTS = [(headers, value) for headers, value in lines("events") if headers["kind"] != "claim"]
BY_KIND = {value["kind"]: value for _headers, value in EVENTS}
WITH_A_BATCH = [value for _headers, value in lines("commands")]
SINGLE = [command for value in WITH_A_BATCH for command in (value if isinstance(value, list) else [value])]
BY_TYPE = {command["type"]: command for command in SINGLE}


def breakings(value: Any) -> Iterator[Any]:
    """`value` with one field of another JSON type, at each place, and without one field that every kind has."""
    for name in ("group", "by"):
        broken = copy.deepcopy(value)
        del broken[name]
        yield broken
    for name in value:
        yield {**value, name: [7]}
    if isinstance(value.get("data"), dict):
        for name in value["data"]:
            yield {**value, "data": {**value["data"], name: 7 if name == "attributes" else {"no": "such"}}}


def test_the_schemas_in_the_documents_are_what_the_types_say() -> None:
    now = {name: written(schema) for name, schema in schemas().items()}

    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == now, "make schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_schema_of_its_draft_and_each_reference_leads_somewhere(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)

    named = {part.removeprefix("#/$defs/") for part in _references(schema)}
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert named <= set(schema.get("$defs", ()))
    assert schema["title"]
    assert schema["description"]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _references(each)


def test_every_kind_and_every_command_is_there_with_an_example() -> None:
    assert all(holds("event.schema.json", event) for event in BY_KIND.values())
    assert set(KINDS) == {ref["$ref"].removeprefix("#/$defs/") for ref in SCHEMAS["event.schema.json"]["oneOf"]}
    assert set(KINDS) == set(BY_KIND)
    assert set(COMMANDS) == set(BY_TYPE)


def test_every_event_that_was_ever_written_is_as_its_schema_says_and_so_are_its_headers() -> None:
    for headers, event in EVENTS:
        assert holds("event.schema.json", event, event["kind"]), event
        assert holds("event-headers.schema.json", headers), headers


def test_every_command_claim_and_owner_that_was_ever_written_is_as_its_schema_says() -> None:
    owners = [value for _headers, value in lines("owners")]
    assert any(isinstance(value, list) for value in WITH_A_BATCH)
    assert all(holds("command.schema.json", value) for value in WITH_A_BATCH)
    assert CLAIMS
    assert all(holds("claim.schema.json", value) for value in CLAIMS)
    assert owners
    assert all(holds("owner.schema.json", value) for value in owners)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_event_is_no_event_for_the_schema_nor_for_the_decoder(kind: str) -> None:
    *_, last = breakings(BY_KIND[kind])
    assert not holds("event.schema.json", last), last
    for broken in breakings(BY_KIND[kind]):
        assert not holds("event.schema.json", broken, kind), broken
        with pytest.raises(msgspec.ValidationError):
            decode_event(json.dumps(broken).encode())


@pytest.mark.parametrize("tag", COMMANDS)
def test_a_broken_command_is_no_command_for_the_schema_nor_for_the_decoder(tag: str) -> None:
    *_, last = breakings(BY_TYPE[tag])
    assert not holds("command.schema.json", last), last
    for broken in breakings(BY_TYPE[tag]):
        assert not holds("command.schema.json", broken, NAMES[tag]), broken
        with pytest.raises(msgspec.ValidationError):
            decode_command(json.dumps(broken).encode())


@pytest.mark.parametrize(("name", "kind", "value"), [
    ("claim.schema.json", Claim, CLAIMS[0]),
    ("owner.schema.json", OwnerRecord, next(value for _headers, value in lines("owners"))),
])  # fmt: skip
def test_a_broken_claim_or_owner_is_none(name: str, kind: type, value: dict[str, Any]) -> None:
    for field in set(value) - {"type"}:
        for broken in ({k: v for k, v in value.items() if k != field}, {**value, field: [7]}):
            assert not holds(name, broken), broken
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(json.dumps(broken).encode(), type=kind)


def test_a_header_that_is_missing_or_no_number_is_an_error_and_one_more_is_none() -> None:
    headers, _event = EVENTS[0]
    assert holds("event-headers.schema.json", {**headers, "traceparent": "00-0-0-00"})
    for name in set(headers) - OPTIONAL_HEADERS:
        assert not holds("event-headers.schema.json", {k: v for k, v in headers.items() if k != name})
    for name in ("seq", "epoch", "command_offset", "command_index"):
        assert not holds("event-headers.schema.json", {**headers, name: "-1"})


def test_what_a_later_version_adds_is_no_error_and_its_kinds_are_events_still() -> None:
    posted = BY_KIND["message.posted"]
    later = {**posted, "kind": "message.pinned", "data": {"target": 3}}

    assert holds("event.schema.json", {**posted, "more": 1, "data": {**posted["data"], "more": 1}})
    assert holds("event.schema.json", later, "event")
    assert not holds("event.schema.json", later)


@pytest.mark.parametrize(("field", "most"), [
    ("text", rules.TEXT_BYTES), ("client_msg_id", rules.CLIENT_MSG_ID_BYTES), ("group", rules.ID_BYTES),
])  # fmt: skip
def test_the_limits_are_those_of_the_rules(field: str, most: int) -> None:
    send = {**BY_TYPE["send"], "by": "anna"}
    longest, too_long = {**send, field: "x" * most}, {**send, field: "x" * (most + 1)}

    assert holds("command.schema.json", longest)
    assert rules.check(decode_command(json.dumps(longest).encode())) is None
    assert not holds("command.schema.json", too_long)
    assert rules.check(decode_command(json.dumps(too_long).encode())) is not None
