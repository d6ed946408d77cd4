"""Headers that no user service sends, encoded by hand: refused, not even decodable, or strange and harmless."""

import struct

from tests.support import raw_amqp
from tests.support.raw_amqp import entry, message_type, table, text

# Each as (properties, what its dead letter's reason begins with).
REFUSED = {
    "no headers": ((0, b""), "no headers"),
    "empty headers": (raw_amqp.properties(table()), "no headers"),
    "no message_type": (raw_amqp.properties(table(entry(b"x", b"I", b"\0\0\0\1"))), "no message_type"),
    "an unknown type": (raw_amqp.properties(table(message_type("GROUP_RENAMED"))), "unknown message_type"),
    "another case": (raw_amqp.properties(table(message_type("group_deleted"))), "unknown message_type"),
    "an integer": (raw_amqp.properties(table(entry(b"message_type", b"I", b"\0\0\0\1"))), "unknown message_type"),
    "a boolean": (raw_amqp.properties(table(entry(b"message_type", b"t", b"\1"))), "unknown message_type"),
    "nothing": (raw_amqp.properties(table(entry(b"message_type", b"V", b""))), "unknown message_type"),
    "a byte array": (
        raw_amqp.properties(table(entry(b"message_type", b"x", text(b"GROUP_DELETED")))),
        "unknown message_type",
    ),
    "bytes that are no text": (
        raw_amqp.properties(table(entry(b"message_type", b"S", text(b"\xff\xfe")))),
        "unknown message_type",
    ),
    "a table": (
        raw_amqp.properties(table(entry(b"message_type", b"F", table(message_type("GROUP_DELETED"))))),
        "unknown message_type",
    ),
    "an array": (
        raw_amqp.properties(table(entry(b"message_type", b"A", text(b"S" + text(b"GROUP_DELETED"))))),
        "unknown message_type",
    ),
}


def nested(kind: bytes, depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = (b"\1a" if kind == b"F" else b"") + kind + struct.pack(">I", len(value)) + value
    return value


# What RabbitMQ 3.10 takes and pamqp 4.0.1 raises on; without `bridges.inbound.lenient` each of them ends the
# connection, and comes back for ever.
UNDECODABLE = {
    "an instant in the year 584556019": entry(b"t", b"T", b"\xff" * 8),
    "a name that is not UTF-8": entry(b"\xff\xfe", b"I", b"\0\0\0\1"),
    "tables 10,000 deep": nested(b"F", 10_000),
    "arrays 20,000 deep": entry(b"a", b"A", text(nested(b"A", 20_000))),
}


STRANGE = {
    "a decimal": entry(b"d", b"D", b"\xff\xff\xff\xff\xff"),
    "an instant": entry(b"d", b"T", struct.pack(">Q", 1_700_000_000)),
    "nothing": entry(b"d", b"V", b""),
    "bytes": entry(b"d", b"x", text(b"\xff\x00")),
    "an array": entry(b"d", b"A", text(b"I\0\0\0\1S" + text(b"\xff"))),
    "a table": entry(b"d", b"F", table(message_type("GROUP_DELETED"))),
    "numbers": b"".join(
        entry(kind, kind, value)
        for kind, value in {
            b"b": b"\xff",
            b"B": b"\xff",
            b"s": b"\xff" * 2,
            b"u": b"\xff" * 2,
            b"I": b"\xff" * 4,
            b"i": b"\xff" * 4,
            b"l": b"\xff" * 8,
            b"L": b"\xff" * 8,
            b"f": struct.pack(">f", 1.5),
            b"d": struct.pack(">d", 1.5),
        }.items()
    ),
    "text that is not UTF-8": entry(b"d", b"S", text(b"\xff\xfe")),
    "one header of 100 KiB": entry(b"d", b"S", text(b"v" * 102_400)),
    "100 KiB of headers": b"".join(entry(b"%d" % i, b"S", text(b"v" * 20)) for i in range(3500)),
    "what the AMQP 1.0 plugin adds": entry(b"x-amqp-1.0-properties", b"x", text(b"\x00\x53\x73\xc0\x01\x00"))
    + entry(b"x-amqp-1.0-app-properties", b"x", text(b"\x00\x53\x74\xc1\x01\x00")),
}
