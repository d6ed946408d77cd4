"""pamqp made tolerant: what it raises on is kept as bytes, and what it can decode is decoded as before.

That RabbitMQ really delivers such messages, and that the queue goes on, is held by
tests/integration/amqp_inbound/test_messages.py.
"""

import struct

import pytest
from pamqp import commands, constants, decode, frame, header

from bridges.inbound import lenient
from tests.support.raw_amqp import entry, message_type, properties, table, text


@pytest.fixture(autouse=True)
def tolerant(monkeypatch: pytest.MonkeyPatch) -> None:
    """pamqp as a bridge has it; as it was, afterwards."""
    monkeypatch.setattr(header.ContentHeader, "unmarshal", header.ContentHeader.unmarshal)
    monkeypatch.setattr(decode, "METHODS", dict(decode.METHODS))
    monkeypatch.setattr(constants, "DOMAIN_REGEX", dict(constants.DOMAIN_REGEX))
    lenient.install()


def received(flags: int, encoded: bytes, size: int = 7) -> header.ContentHeader:
    """The content header as a connection gets it."""
    payload = struct.pack(">HHQH", 60, 0, size, flags) + encoded
    raw = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    found = frame.unmarshal(raw)[2]
    assert isinstance(found, header.ContentHeader)
    return found


def nested(kind: bytes, depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = (b"\1a" if kind == b"F" else b"") + kind + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.parametrize(
    "strange",
    [
        entry(b"t", b"T", b"\xff" * 8),
        entry(b"t", b"T", b"\x7f" + b"\xff" * 7),
        entry(b"\xff\xfe", b"I", b"\0\0\0\1"),
        nested(b"F", 10_000),
        entry(b"a", b"A", text(nested(b"A", 20_000))),
        entry(b"u", b"U", b"\0\0"),
        entry(b"a", b"A", b"\0\0\1\0"),
        b"\xff" * 20,
    ],
    ids=["instant", "greatest instant", "name", "tables", "arrays", "unknown type", "array beyond", "garbage"],
)
def test_what_cannot_be_decoded_is_kept_as_bytes_with_the_bodys_size(strange: bytes) -> None:
    flags, encoded = properties(table(message_type("GROUP_DELETED"), strange))

    found = received(flags, encoded, size=7)

    assert encoded in (lenient.undecoded(found) or b"")
    assert found.body_size == 7
    assert found.properties.headers is None


def test_what_can_be_decoded_is_decoded_as_ever() -> None:
    flags, encoded = properties(table(message_type("GROUP_DELETED")), message_id=b"m1")

    found = received(flags, encoded)

    assert lenient.undecoded(found) is None
    assert found.properties.headers == {"message_type": "GROUP_DELETED"}
    assert found.properties.message_id == "m1"


def test_a_routing_key_that_is_not_utf_8_is_taken() -> None:
    strings = b"\1c" + b"\0" * 8 + b"\0" + b"\1e" + b"\2\xff\xfe"
    payload = struct.pack(">HH", 60, 60) + strings
    raw = struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce"

    deliver = frame.unmarshal(raw)[2]

    assert isinstance(deliver, commands.Basic.Deliver)
    assert (deliver.routing_key or "").encode("utf-8", "surrogateescape") == b"\xff\xfe"


def test_a_queue_may_have_any_name_that_rabbitmq_lets_it_have() -> None:
    assert commands.Queue.Declare(queue='Grüße "an" Ada!').queue == 'Grüße "an" Ada!'


def test_another_version_of_pamqp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenient, "version", lambda _: "4.0.2")

    with pytest.raises(RuntimeError, match=r"4\.0\.2"):
        lenient.install()
