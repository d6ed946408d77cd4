"""What is seen of the way in from RabbitMQ: its errors, its commands, its dead letters."""

import msgspec
from confluent_kafka import Message

from app.kafka import topics
from tests.support.bridges import Bridge
from tests.support.driver import Driver
from tests.support.waiting import eventually

# Whatever fails is noticed within ten seconds: that a bridge's constants add up to less is held by
# tests/unit/bridges/test_connection.py. Here the machine may be several times slower.
NOTICED_S = 40
SEEN_S = 90  # against hanging


def causes(bridge: Bridge) -> list[str]:
    """Why it could not serve, as its log tells."""
    return [line["cause"] for line in bridge.logged("bridge cannot serve")]


def errors(bridge: Bridge, containing: str) -> int:
    """How many lines of its log tell that it cannot serve, with this in the cause."""
    return sum(containing in cause for cause in causes(bridge))


def added(driver: Driver, group: str) -> list[str]:
    """The users whose addition to the group was commanded, in the order of the commands."""
    records = [msgspec.json.decode(message.value()) for message in driver.read(topics.COMMANDS)]
    commands = [command for record in records for command in (record if isinstance(record, list) else [record])]
    return [c["user"] for c in commands if c["type"] == "add_member" and c["group"] == group]


def letters(driver: Driver, containing: bytes) -> list[Message]:
    """The dead letters whose value or headers have these bytes."""
    return [
        m
        for m in driver.read(topics.DEAD_LETTERS)
        if containing in (m.value() or b"") or any(containing in (v or b"") for _, v in m.headers() or [])
    ]


def letter(driver: Driver, containing: bytes) -> Message:
    """The one dead letter with these bytes; again only if RabbitMQ gave the message out again."""
    found, *again = eventually(lambda: letters(driver, containing), within_s=SEEN_S, what="a dead letter")
    assert all(headers_of(each)["amqp.redelivered"] == b"True" for each in again)
    return found


def headers_of(message: Message) -> dict[str, bytes | None]:
    """Its headers by name; the last one where a name is there more than once."""
    return dict(message.headers() or [])
