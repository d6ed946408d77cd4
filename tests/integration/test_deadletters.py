"""`python -m app deadletters` on a real broker: the newest, why, and from where; their content only if asked for."""

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from app.kafka import topics
from app.kafka.producer import Producer
from tests.support.stack import clean_environment

PUT_ASIDE = [
    (b"from a gateway", {"reason": b"not JSON", "topic": topics.COMMANDS.encode(), "partition": b"1", "offset": b"7"}),
    (b"Ada, ada@example.org", {"message_type": b"\xff", "offset": b"theirs", "reason": b"bytes", "topic": b"amqp:q"}),
    (b"", {"reason": b"no message_type", "topic": b"amqp:q"}),
]


async def put_aside(bootstrap: str) -> None:
    producer = Producer(bootstrap, queue_records=10)
    try:
        for i, (value, headers) in enumerate(PUT_ASIDE):
            await producer.deliver(topics.DEAD_LETTERS, i % 2, key=None, value=value, headers=list(headers.items()))
    finally:
        await producer.close(60)


@pytest.fixture(scope="module")
def bootstrap(module_broker: str) -> str:
    """A broker with three dead letters, on two partitions."""
    topics.create(module_broker, "auerbach", partitions=2, replication=1)
    asyncio.run(put_aside(module_broker))
    return module_broker


def told(bootstrap: str, *arguments: str) -> Sequence[dict[str, object]]:
    ran = subprocess.run(
        [sys.executable, "-m", "app", "deadletters", *arguments],
        env=clean_environment(KAFKA_BOOTSTRAP=bootstrap),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_each_says_why_it_is_one_and_where_it_came_from_oldest_first(bootstrap: str) -> None:
    letters = told(bootstrap)

    assert [(letter["reason"], letter["origin"]) for letter in letters] == [
        ("not JSON", "chat.group.commands.v1:1:7"),
        ("bytes", "amqp:q"),
        ("no message_type", "amqp:q"),
    ]
    assert [letter["bytes"] for letter in letters] == [14, 20, 0]
    assert letters[1]["sha256"] == hashlib.sha256(PUT_ASIDE[1][0]).hexdigest()


def test_the_newest_are_shown_and_those_of_one_origin_if_asked(bootstrap: str) -> None:
    assert [letter["reason"] for letter in told(bootstrap, "--last", "1")] == ["no message_type"]
    assert [letter["reason"] for letter in told(bootstrap, "--origin", "chat.group")] == ["not JSON"]


def test_the_content_is_shown_only_if_asked_for(bootstrap: str) -> None:
    assert all("value" not in letter and "headers" not in letter for letter in told(bootstrap))

    (_, letter, _) = told(bootstrap, "--contents")

    assert letter["value"] == base64.b64encode(PUT_ASIDE[1][0]).decode()
    assert letter["headers"] == {"message_type": "/w==", "offset": base64.b64encode(b"theirs").decode()}
