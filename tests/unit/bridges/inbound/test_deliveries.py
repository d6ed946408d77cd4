"""One delivery after the other: none raises, for one that did would be acknowledged with the next."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiormq.abc import DeliveredMessage
from pamqp import commands
from pamqp.header import ContentHeader

from bridges.inbound import updates
from bridges.inbound.deliveries import taker
from bridges.inbound.updates import Update


class FakeWriting:
    def __init__(self) -> None:
        self.updates: list[tuple[int, Update]] = []
        self.aside: list[tuple[int, str, bytes]] = []
        self.headers: list[dict[str, bytes]] = []

    def add(self, tag: int, update: Update) -> None:
        self.updates.append((tag, update))

    def put_aside(self, tag: int, reason: str, value: bytes, headers: Any) -> None:
        self.aside.append((tag, reason, value))
        self.headers.append(dict(headers))


def delivery(tag: int, body: bytes, headers: dict[str, Any] | None, **properties: Any) -> DeliveredMessage:
    return DeliveredMessage(
        delivery=commands.Basic.Deliver("c", tag, False, "e", "r"),
        header=ContentHeader(body_size=len(body), properties=commands.Basic.Properties(headers=headers, **properties)),
        body=body,
        channel=cast("Any", None),
    )


DELETED = {"message_type": "GROUP_DELETED"}


def test_what_can_be_understood_is_written_under_its_tag() -> None:
    writing = FakeWriting()

    taker("in", "q", cast("Any", writing))(delivery(7, bytes.fromhex("046731"), DELETED))

    ((tag, update),) = writing.updates
    assert (tag, update.group) == (7, "g1")


def test_what_cannot_be_understood_is_put_aside_with_its_body() -> None:
    writing = FakeWriting()

    taker("in", "q", cast("Any", writing))(delivery(7, b"\xff", DELETED))

    assert writing.aside == [(7, "bad body", b"\xff")]


def test_all_that_the_publisher_set_is_put_aside_with_it() -> None:
    writing = FakeWriting()
    at = datetime(2026, 11, 26, tzinfo=UTC)
    message = delivery(7, b"\xff", DELETED, reply_to="answers", message_type="t", priority=3, timestamp=at)

    taker("in", "q", cast("Any", writing))(message)

    (headers,) = writing.headers
    assert {name: value for name, value in headers.items() if name.startswith("amqp.")} == {
        "amqp.exchange": b"e",
        "amqp.routing_key": b"r",
        "amqp.redelivered": b"False",
        "amqp.delivery_tag": b"7",
        "amqp.reply_to": b"answers",
        "amqp.type": b"t",
        "amqp.priority": b"3",
        "amqp.timestamp": b"2026-11-26 00:00:00+00:00",
    }


def test_a_message_that_raises_is_put_aside_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    writing = FakeWriting()
    take = taker("in", "q", cast("Any", writing))
    with monkeypatch.context() as broken:
        broken.setattr(updates, "read", lambda *_, **__: 1 / 0)
        take(delivery(1, b"body", DELETED))

    take(delivery(2, bytes.fromhex("046731"), DELETED))

    assert writing.aside == [(1, "raised", b"body")]
    assert [tag for tag, _ in writing.updates] == [2]


def test_two_sessions_name_their_deliveries_differently() -> None:
    writing = FakeWriting()

    for _ in range(2):
        taker("in", "q", cast("Any", writing))(delivery(1, bytes.fromhex("046731"), DELETED))

    first, second = (update.commands[0].id for _, update in writing.updates)
    assert first != second
