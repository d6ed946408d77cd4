"""`python -m app deadletters`: what was put aside because it could not be understood, and why."""

import base64
import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click
from confluent_kafka import Consumer, Message

from app.cli.topics import reachable
from app.kafka import consumer, topics


@click.command()
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, the newest.")
@click.option("--origin", default="", metavar="TEXT", help="Only those whose origin begins so: amqp:, chat.group.")
@click.option("--contents", is_flag=True, help="Headers and value too, in base64: they may be personal.")
def command(last: int, origin: str, contents: bool) -> None:
    """Show the newest dead letters, oldest first: one JSON object a line.

    `origin` is where it came from: `amqp:QUEUE`, or a topic with partition and offset. Dead letters are kept for 30
    days, and nothing reads them again.
    """
    settings = reachable()
    layout = topics.check(settings.bootstrap, settings.app_id, settings.partitions_given)
    with consumer.reader(settings.bootstrap) as reader:
        for message in newest(_all(reader, layout.partitions), last, origin):
            click.echo(json.dumps(shown(message, contents=contents), ensure_ascii=False))


def newest(messages: Iterable[Message], count: int, origin: str) -> list[Message]:
    """The newest of those whose origin begins so, oldest first; no more than `count` are held at a time."""
    wanted = (message for message in messages if _text(_headers(message).get("topic")).startswith(origin))
    return sorted(heapq.nlargest(count, wanted, key=_age), key=_age)


def shown(message: Message, *, contents: bool) -> dict[str, Any]:
    """A dead letter for people and programs: why, where from, and what identifies it; its content only if asked for."""
    headers = _headers(message)
    value = message.value() or b""
    found = {
        "at": datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC).isoformat(timespec="milliseconds"),
        "reason": _text(headers.get("reason")),
        "origin": _origin(headers),
        "bytes": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
        "record": f"{message.partition()}:{message.offset()}",
    }
    if contents:
        theirs = {
            name: _base64(value) for name, value in headers.items() if name not in ("reason", "topic", *_place(headers))
        }
        found |= {"headers": theirs, "value": _base64(value)}
    return found


def _origin(headers: dict[str, bytes | None]) -> str:
    return ":".join(_text(headers.get(name)) for name in ("topic", *_place(headers)))


def _place(headers: dict[str, bytes | None]) -> tuple[str, ...]:
    """The headers that say where in its log a dead letter stood."""
    # What came from RabbitMQ stood in none: headers of these names are the publisher's.
    return () if _text(headers.get("topic")).startswith("amqp:") else ("partition", "offset")


def _all(reader: Consumer, partitions: int) -> Iterator[Message]:
    for partition in range(partitions):
        first, end = consumer.offsets(reader, topics.DEAD_LETTERS, partition)
        yield from consumer.read(reader, topics.DEAD_LETTERS, partition, first, end)


def _age(message: Message) -> tuple[int, int, int]:
    return message.timestamp()[1], message.partition(), message.offset()


def _headers(message: Message) -> dict[str, bytes | None]:
    """By name; of two with one name the last counts, which is ours."""
    return dict(message.headers() or [])


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()
