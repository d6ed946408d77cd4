"""Tells the bridge of groups and members that were there before it: from JSON lines {"group","user"} into its queue.

    .venv/bin/python docs/migration/seed.py --queue auerbach-group-updates members.jsonl

Each line is an addition as the user service publishes it, but for this one queue. The first of an unknown group becomes
its owner; who is a member already stays one. It ends with 0 once RabbitMQ holds all of them.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import aio_pika

UNDER_WAY = 500


def avro(*texts: str) -> bytes:
    """Strings as Avro has them in a record: each with its length in bytes, zigzag and base 128."""
    out = bytearray()
    for raw in (text.encode() for text in texts):
        length = len(raw) << 1
        while length > 0x7F:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        out.append(length)
        out += raw
    return bytes(out)


def additions(lines: Iterable[str]) -> Iterator[bytes]:
    """The body of a MEMBER_ADDED for each line; name, surname and address of the user are not used here."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                member = json.loads(line)
                yield avro(member["group"], member["user"], "", "", "")
            except (ValueError, KeyError, TypeError, AttributeError) as bad:
                raise ValueError(f"line {number}: {bad!r}; nothing was sent") from None


async def seed(amqp: str, queue: str, bodies: list[bytes]) -> None:
    """Publish all of them in order, each batch confirmed before the next."""
    async with await aio_pika.connect(amqp) as rabbit, rabbit.channel() as channel:
        await channel.get_queue(queue)  # the bridge has declared it; else nothing would be kept
        for first in range(0, len(bodies), UNDER_WAY):
            await asyncio.gather(*(publish(channel, queue, body) for body in bodies[first : first + UNDER_WAY]))


async def publish(channel: aio_pika.abc.AbstractChannel, queue: str, body: bytes) -> None:
    """Into that queue alone, and on disk where the queue is durable."""
    mode = aio_pika.DeliveryMode.PERSISTENT
    message = aio_pika.Message(body, headers={"message_type": "MEMBER_ADDED"}, delivery_mode=mode)
    await channel.default_exchange.publish(message, routing_key=queue)


def arguments() -> argparse.ArgumentParser:
    """What it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amqp", default="amqp://guest:guest@127.0.0.1:5672/", help="RabbitMQ (default: %(default)s)")
    parser.add_argument("--queue", required=True, help="the bridge's USER_SERVICE_EVENT_QUEUE")
    parser.add_argument("members", type=Path, help="a file of JSON lines")
    return parser


def main() -> None:
    """Read the arguments and publish."""
    asked = arguments().parse_args()
    logging.disable()
    try:
        with asked.members.open(encoding="utf-8") as lines:
            bodies = list(additions(lines))
        asyncio.run(seed(asked.amqp, asked.queue, bodies))
    except (OSError, ValueError, aio_pika.exceptions.AMQPError) as failed:
        print(f"failed: {failed}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"{len(bodies)} additions are in {asked.queue}")


if __name__ == "__main__":
    main()
