"""The neighbours' Avro: bare binary, no framing, no fingerprint of a schema (protocol §8)."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

SCHEMA_FILE = Path(__file__).parent / "schemas" / "positionpal.avsc"

_named: dict[str, Any] = {}
# By name without its namespace; expanded, so that each stands alone.
_schemas = {
    record["name"]: parse_schema(record, named_schemas=_named, expand=True)
    for record in json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
}


class AvroError(ValueError):
    """The bytes are not exactly one record of the schema; the message says why and quotes none of them."""


def decode(name: str, body: bytes) -> dict[str, Any]:
    """The record `name` that `body` is.

    Raises:
        AvroError: it ends early, something follows it, or a string in it is not UTF-8.
    """
    stream = BytesIO(body)
    try:
        record = schemaless_reader(stream, _schemas[name], None)
    except EOFError:
        raise AvroError("the body ends early") from None
    except UnicodeDecodeError:
        raise AvroError("a string is not UTF-8") from None
    except (ValueError, OverflowError, MemoryError, IndexError, TypeError) as bad:
        raise AvroError(f"not decodable: {type(bad).__name__}") from None
    if left := len(body) - stream.tell():
        raise AvroError(f"{left} bytes follow the record")
    assert isinstance(record, dict)
    return record


def encode(name: str, record: dict[str, Any]) -> bytes:
    """`record` as the body of a record `name`.

    Raises:
        ValueError, TypeError, KeyError: it has not the schema's fields and types.
    """
    stream = BytesIO()
    schemaless_writer(stream, _schemas[name], record, strict=True)
    return stream.getvalue()
