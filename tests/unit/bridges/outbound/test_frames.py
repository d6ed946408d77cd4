"""The frames of a published message, held to pamqp's and read back by it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pamqp import body, commands, frame, header

from bridges.outbound.frames import published

FIELDS: dict[str, Any] = {
    "exchange": "events",
    "routing_key": "group.Grüße 🎉.message.posted",
    "content_type": "application/json",
    "headers": {"group": "Grüße 🎉", "seq": 2**40, "epoch": -(2**40)},
    "message_id": "rk3fQ2x1TZ2m0n4bq7uYQA.2.44.0",
    "at_s": 1_795_569_600,
    "kind": "message.posted",
    "body": b'{"type":"event"}',
}


def by_pamqp(channel: int, most: int, fields: dict[str, Any]) -> bytes:
    properties = commands.Basic.Properties(
        content_type=fields["content_type"],
        headers=fields["headers"],
        delivery_mode=2,
        message_id=fields["message_id"],
        timestamp=datetime.fromtimestamp(fields["at_s"], UTC),
        message_type=fields["kind"],
    )
    text = fields["body"]
    frames = [
        commands.Basic.Publish(exchange=fields["exchange"], routing_key=fields["routing_key"]),
        header.ContentHeader(properties=properties, body_size=len(text)),
        *(body.ContentBody(text[at : at + most]) for at in range(0, len(text), most)),
    ]
    return b"".join(frame.marshal(each, channel) for each in frames)


def read(data: bytes) -> list[Any]:
    frames = []
    while data:
        size, _, each = frame.unmarshal(data)
        frames.append(each)
        data = data[size:]
    return frames


@pytest.mark.parametrize(
    "more",
    [{}, {"content_type": None, "kind": None}, {"body": b""}, {"body": bytes(range(256)) * 20}, {"routing_key": ""}],
    ids=["an event", "a push", "an empty body", "a body in pieces", "no routing key"],
)
def test_the_frames_are_those_of_pamqp_to_the_byte(more: dict[str, Any]) -> None:
    fields = {**FIELDS, **more}
    # pamqp writes keys in their order, and numbers as narrow as they go: these are 64 bits wide anyway.
    fields["headers"] = dict(sorted(fields["headers"].items()))
    assert published(7, 1000, **fields) == by_pamqp(7, 1000, fields)


def test_a_small_number_is_read_as_itself_and_as_wide_as_a_large_one() -> None:
    data = published(1, 1000, **{**FIELDS, "headers": {"seq": 4}})

    assert b"\x03seql\x00\x00\x00\x00\x00\x00\x00\x04" in data
    assert read(data)[1].properties.headers == {"seq": 4}


def test_what_is_too_long_for_a_short_string_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        published(1, 1000, **{**FIELDS, "routing_key": "x" * 256})
