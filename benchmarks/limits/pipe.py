"""`python -m benchmarks.limits.pipe`: bare librdkafka in a processor's place, in a process of its own.

Reads commands as a member of a group and writes a record for each, with a processor's settings of the producer and of
the group. What was reported is committed twice a second. It decides nothing and keeps nothing.
"""

import signal
import threading
from functools import partial
from pathlib import Path

import click
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from app.config import Settings
from benchmarks.limits import topics
from benchmarks.limits.progress import Progress
from benchmarks.limits.written import records_of

ASSIGNED = "assigned"
HEARTBEAT_MS = 300  # as a processor's, whose module would bring Faust, and its start with it
_BATCH = 500
_FLUSH_S = 10


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--member", help="Its name in the group: it comes back as the same. Without one it leaves when it ends.")
@click.option("--progress", required=True, type=click.Path(path_type=Path), help="The file that counts what is done.")
def main(bootstrap: str, member: str | None, progress: Path) -> None:
    """Pipe until SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    counted = Progress(progress)
    to = Producer(_producing(bootstrap))
    commands = Consumer(_consuming(bootstrap, member))
    commands.subscribe([topics.PIPE], on_assign=lambda _, given: print(ASSIGNED, len(given), flush=True))
    while not ended.is_set():
        first = commands.poll(0.1)
        for message in () if first is None else (first, *commands.consume(_BATCH, 0)):
            if message.error() is None:
                _write(to, commands, counted, message)
        to.poll(0)
    to.flush(_FLUSH_S)
    commands.close()


def _write(to: Producer, commands: Consumer, counted: Progress, message: Message) -> None:
    """A record for each command; the message is done with when the last one is reported."""
    records = list(records_of(message.value() or b""))
    for n, (value, headers) in enumerate(records, 1):
        done = partial(_done, commands, counted, message, n) if n == len(records) else None
        to.produce(topics.EVENTS, value, message.key(), message.partition(), headers=headers, on_delivery=done)


def _done(commands: Consumer, counted: Progress, message: Message, count: int, error: object, _: Message) -> None:
    assert error is None, error
    counted.add(count)
    at = TopicPartition(message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1)
    if at in commands.assignment():  # another has it after a rebalance: what we cannot store, it writes again
        commands.store_offsets(offsets=[at])


def _producing(bootstrap: str) -> dict[str, object]:
    return {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 0,
        "queue.buffering.max.messages": 500_000,
        "log_level": 2,
    }


def _consuming(bootstrap: str, member: str | None) -> dict[str, object]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "limit-pipe",
        # A static member does not leave the group when it closes (KIP-345): the others wait for its session to end.
        **({"group.instance.id": member} if member is not None else {}),
        "session.timeout.ms": int(Settings().session_timeout_s * 1000),
        "heartbeat.interval.ms": HEARTBEAT_MS,
        "auto.offset.reset": "earliest",
        "enable.auto.offset.store": False,
        "auto.commit.interval.ms": 500,
        "fetch.wait.max.ms": 100,
        "log_level": 2,
    }


if __name__ == "__main__":
    main()
