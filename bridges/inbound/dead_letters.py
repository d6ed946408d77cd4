"""What is put aside: the record of a message that became no command, for operators."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.kafka.producer import Headers
from bridges.inbound.updates import Refused

# A record has a mebibyte (`app.kafka.topic_specs`), a message may have a hundred.
BODY_BYTES = 512 * 1024
HEADER_BYTES = 64 * 1024
HEADERS_BYTES = 256 * 1024


def record(
    refused: Refused,
    *,
    queue: str,
    body: bytes,
    headers: Mapping[str, Any] | None,
    undecoded: bytes | None,
    details: Mapping[str, object],
) -> tuple[bytes, Headers]:
    """Value and headers of the dead letter: the body as it came, and the message's own headers.

    `details`: how it came, and its other properties; None is what was not set. What is ours comes last: who reads
    headers into a dictionary gets ours. A body or header that is cut is told by a header `cut` with its full size and
    SHA-256. Headers that could not be decoded stand in `amqp.properties`, as the bytes of AMQP's content header behind
    the body's size.
    """
    out: Headers = []
    cuts: list[str] = []
    left = HEADERS_BYTES
    fields = {str(name): _as_bytes(value) for name, value in (headers or {}).items()}
    if undecoded is not None:
        fields["amqp.properties"] = undecoded
    for name, value in fields.items():
        room = min(HEADER_BYTES, left - len(name))
        if room < 0:
            cuts.append(f"{len(fields) - len(out)} more headers of {len(fields)}")
            break
        if len(value) > room:
            cuts.append(_cut(f"header {name[:64]}", value))
        out.append((_printable(name), value[:room]))
        left -= len(name) + min(len(value), room)
    if len(body) > BODY_BYTES:
        cuts.append(_cut("body", body))
    out += [
        (f"amqp.{name}", str(value).encode("utf-8", "surrogateescape"))
        for name, value in details.items()
        if value is not None
    ]
    reason = f"{refused.reason}: {refused.detail}" if refused.detail else refused.reason
    out += [("reason", reason.encode("utf-8", "replace")), ("topic", f"amqp:{queue}".encode())]
    if cuts:
        out.append(("cut", "; ".join(cuts).encode("utf-8", "replace")))
    return body[:BODY_BYTES], out


def _as_bytes(value: Any) -> bytes:
    """A header's value: text and bytes as they are, all else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    try:
        return json.dumps(value, default=str).encode()
    except (ValueError, RecursionError, TypeError):
        return repr(type(value)).encode()


def _printable(name: str) -> str:
    return name.replace("\0", "\\0").encode("utf-8", "replace").decode()


def _cut(what: str, value: bytes) -> str:
    return f"{what} of {len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()}"
