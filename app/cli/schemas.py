"""`python -m app schemas`: JSON Schemas of what is in the topics, made from the types that encode it.

What the types leave to the domain's rules (lengths, characters) is added by the name of the field. Further fields are
allowed everywhere, because readers ignore them. `tests/unit/ops/test_schemas.py` holds `docs/schemas` to this.
"""

import json
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from app.cli.schema_rules import FIELDS, HEADERS, OPTIONAL_HEADERS, Schema
from app.domain.commands import AnyCommand
from app.domain.events import KINDS, Data, Event
from app.log.records import Claim
from app.reads import OwnerRecord

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Write the JSON Schemas of events, commands, claims and owner records into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / name).write_text(written(schema))
    click.echo(f"{len(schemas())} schemas in {click.format_filename(folder)}")


def schemas() -> dict[str, Schema]:
    """Each schema by its file's name, in an order that is always the same."""
    return {
        "event.schema.json": _events(),
        "event-headers.schema.json": _headers(),
        "claim.schema.json": _alone(Claim),
        "command.schema.json": _commands(),
        "owner.schema.json": _alone(OwnerRecord),
    }


def written(schema: Schema) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _events() -> Schema:
    kinds = [_event_of(kind, data) for kind, data in KINDS.items()]
    envelope = msgspec.defstruct("event", _fields(str, msgspec.Raw), tag_field="type", tag="event", kw_only=True)
    _, parts = _components([*kinds, envelope])
    parts["event"] |= {
        "description": "What every event has, of whatever kind: one of a later version is held against this part alone."
    }
    return {
        "$schema": DRAFT,
        "title": "Event",
        "description": (
            "The value of an event's record in chat.group.events.v1 and the text frame that clients get. "
            'One kind alone is "#/$defs/<kind>"; a kind of a later version is not here, but still a "#/$defs/event". '
            "Records of the log are never redacted; frames may be."
        ),
        "oneOf": [{"$ref": _place(kind)} for kind in KINDS],
        "$defs": parts,
    }


def _event_of(kind: str, data: type[Data]) -> type[msgspec.Struct]:
    """`Event` as it is with one kind of `data`: the union of them has no tag of its own that msgspec could tell."""
    fields = _fields(Literal[kind], data)
    about = {"__doc__": data.__doc__}
    return msgspec.defstruct(kind, fields, tag_field="type", tag="event", kw_only=True, namespace=about)


def _fields(kind: Any, data: Any) -> list[tuple[str, Any] | tuple[str, Any, Any]]:
    special = {"kind": kind, "data": data}
    return [
        (f.name, special.get(f.name, f.type)) if f.required else (f.name, f.type, f.default)
        for f in msgspec.structs.fields(Event)
    ]


def _commands() -> Schema:
    (one,), parts = _components([AnyCommand])
    every = {"title": "command", "description": "One command.", "oneOf": one["anyOf"]}
    return {
        "$schema": DRAFT,
        "title": "Commands",
        "description": "The value of a record in chat.group.commands.v1: one command, or several of one partition.",
        "anyOf": [{"$ref": _place("command")}, {"type": "array", "items": {"$ref": _place("command")}}],
        "$defs": {"command": every, **parts},
    }


def _alone(record: type[msgspec.Struct]) -> Schema:
    _, parts = _components([record])
    return {"$schema": DRAFT, **parts[record.__name__]}


def _components(types: list[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    tops, parts = msgspec.json.schema_components(types, ref_template=_place("{name}"))
    return tops, {name: _ruled(part) for name, part in parts.items()}


def _place(name: str) -> str:
    return f"#/$defs/{name}"


def _ruled(part: Schema) -> Schema:
    """An object's schema with what the rules say of its fields."""
    return part | {"properties": {name: _limited(name, field) for name, field in part.get("properties", {}).items()}}


def _limited(name: str, field: Schema) -> Schema:
    rule = FIELDS.get(name)
    if rule is None or "enum" in field or "$ref" in json.dumps(field):
        return field
    about = {"description": rule["description"]} if "description" in rule else {}
    limits = {key: limit for key, limit in rule.items() if key != "description"}
    if "anyOf" in field:
        first, *others = field["anyOf"]
        return field | about | {"anyOf": [first | limits, *others]}
    return field | about | limits


def _headers() -> Schema:
    return {
        "$schema": DRAFT,
        "title": "EventHeaders",
        "description": "The headers of an event's record in chat.group.events.v1, each as text. A claim has only "
        "`kind` and `content-type`. There may be others: ignore them.",
        "type": "object",
        "properties": {name: {"type": "string", **rule} for name, rule in HEADERS.items()},
        "required": [name for name in HEADERS if name not in OPTIONAL_HEADERS],
    }
