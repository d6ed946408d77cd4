"""pamqp made tolerant: a message whose headers it cannot decode must not end the connection that brought it.

RabbitMQ takes and delivers headers that pamqp 4.0.1 raises on: instants after the year 9999, names that are not UTF-8,
tables nested some thousand deep. The exception would end the connection, RabbitMQ would deliver the message again at
once, and the queue would stand still for ever. The same with a routing key that is not UTF-8. Here such headers are
kept as bytes (`undecoded`), and short strings take any bytes. Names of queues and exchanges may be any text, too, as
RabbitMQ has it: pamqp refuses some of them before they are sent.

It replaces some of pamqp's functions, so it knows exactly one version of it.
"""

import re
from importlib.metadata import version
from typing import Any

from pamqp import commands, constants, decode, header

PAMQP = "4.0.1"
_strict = header.ContentHeader.unmarshal


def install() -> None:
    """Make pamqp tolerant in this process; a second time changes nothing.

    Raises:
        RuntimeError: another version of pamqp is installed than this module knows.
    """
    if (found := version("pamqp")) != PAMQP:
        raise RuntimeError(f"pamqp is {found}; bridges/inbound/lenient.py knows {PAMQP} only")
    decode.METHODS["shortstr"] = _short_string
    constants.DOMAIN_REGEX.update(dict.fromkeys(("queue-name", "exchange-name"), re.compile(".*", re.DOTALL)))
    header.ContentHeader.unmarshal = _unmarshal  # type: ignore[method-assign]


def undecoded(content: header.ContentHeader) -> bytes | None:
    """The encoded properties of a message that pamqp could not decode; None if it could."""
    raw: bytes | None = getattr(content, "undecoded", None)
    return raw


def _short_string(value: bytes) -> tuple[int, str]:
    """As `pamqp.decode.short_str`; bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    length = value[0]
    return length + 1, value[1 : length + 1].decode("utf-8", "surrogateescape")


def _unmarshal(self: Any, data: bytes) -> None:
    try:
        _strict(self, data)
    except Exception:  # noqa: BLE001 - RecursionError, OverflowError and all that decoders raise; told as a dead letter
        # The size of the body comes first, at a fixed place, and RabbitMQ wrote it itself.
        self.class_id, self.weight, self.body_size = 60, 0, int.from_bytes(data[4:12], "big")
        self.properties = commands.Basic.Properties()
        self.undecoded = data[12:]
