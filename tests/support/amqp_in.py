"""What is seen of the way in from RabbitMQ: its errors, its commands, its dead letters."""

import msgspec
from confluent_kafka import Message

from app.kafka import topics
from tests.support.bridges import Bridge
from tests.support.driver import Driver
from tests.support.waiting import eventually

NOTICED_S = 10  # protocol and issue: whatever fails is noticed by then; the tests wait a little longer


def errors(bridge: Bridge, containing: str) -> int:
    """How many lines of its log tell that it cannot serve, with this in the cause."""
    return sum(containing in line["cause"] for line in bridge.logged("bridge cannot serve"))


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


def letter(driver: Driver, containing: bytes) -> dict[str, bytes | None]:
    """The headers of the one dead letter with these bytes."""
    (found,) = eventually(lambda: letters(driver, containing), within_s=20, what="a dead letter")
    return dict(found.headers())
