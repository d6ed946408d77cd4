"""`python -m benchmarks.pure_path`: what one command costs in each step of deciding it, without Kafka and Faust.

The same messages go through each step alone, in rounds that take turns, and then through a whole partition with both
tables on disk and a producer that takes everything (`in_process`). CPU time of the one thread. The limit is to decode
and encode the same bytes as JSON of no type, which whoever reads a command and writes an event must do.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec

from app.domain.commands import AnyCommand, decode_command, split_array
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.idempotency import digest_of_command
from app.log.records import CommandPlace, Headers, event_headers
from benchmarks.figures import Figure, load_now, tell
from benchmarks.in_process import EPOCH, NOW_MS, Bench, stores
from benchmarks.lab import create, post, record
from tables.partition_tables import PartitionTables, Snapshot

QUICK = "--rounds 1 --commands 320"
GROUPS, MEMBERS = 25, 10
_BARE = "bare JSON, decoded and encoded"
_WHOLE = "a whole partition, without Kafka and Faust"


@dataclass
class Steps:
    """One batch of records on its way; each step takes what the one before it left."""

    tables: PartitionTables
    raw: Sequence[bytes]
    commands: list[AnyCommand] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    snapshot: Snapshot = field(default_factory=Snapshot)

    def bare(self) -> None:
        """Records to dicts and lists, and back: the limit."""
        for value in self.raw:
            msgspec.json.encode(msgspec.json.decode(value))

    def decode(self) -> None:
        """Records to commands."""
        self.commands = [decode_command(one) for value in self.raw for one in split_array(value)]

    def decide_and_fold(self) -> None:
        """Commands to events, each on the state after the one before."""
        for n, command in enumerate(self.commands):
            group = self.tables.group(command.group)
            event = decide(group, command, now_ms=NOW_MS, event_id=f"commands.0.{n}.0")
            assert isinstance(event, Event), event
            value = encode_event(event)
            self.tables.apply(event, value)
            self.events.append(event)

    def encode(self) -> None:
        """Events to the bytes of their records: a part of the step before, alone."""
        self.values = [encode_event(event) for event in self.events]

    def digest(self) -> None:
        """The digests of what was asked."""
        self.requests = [digest_of_command(command) for command in self.commands]

    def head(self) -> None:
        """The headers of the events' records."""
        self.headers = [
            event_headers(
                event,
                epoch=EPOCH,
                command_id=command.id,
                topic_id="commands",
                place=CommandPlace(n, 0),
                request=request,
            )
            for n, (event, command, request) in enumerate(zip(self.events, self.commands, self.requests, strict=True))
        ]

    def take_rows(self) -> None:
        """What has changed, as rows."""
        self.snapshot = self.tables.snapshot(EPOCH)

    def store(self) -> None:
        """The rows to RocksDB."""
        self.tables.stores["groups"].write(self.snapshot.groups, 0)
        self.tables.stores["history"].write(self.snapshot.history, 0)
        self.tables.written()


STEPS: dict[str, Callable[[Steps], None]] = {
    _BARE: Steps.bare,
    "decode the record": Steps.decode,
    "decide, encode, fold into both tables": Steps.decide_and_fold,
    "(of it) encode the event": Steps.encode,
    "digest of the request": Steps.digest,
    "headers": Steps.head,
    "rows of a flush": Steps.take_rows,
    "rows to RocksDB": Steps.store,
}


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--commands", default=8_000, show_default=True, help="Commands a round.")
@click.option("--size", default=16, show_default=True, help="Commands a record.")
def main(rounds: int, commands: int, size: int) -> None:
    """The cost of a command, step by step."""
    load = load_now()
    found = asyncio.run(_measure(rounds, commands, size))
    bare = Figure(_BARE, "µs a command", found.pop(_BARE))
    limits = {_WHOLE: bare}
    steps = [Figure(step, "µs a command", values, limit=limits.get(step)) for step, values in found.items()]
    tell("The path of a command in one thread", load, [bare, *steps])


async def _measure(rounds: int, commands: int, size: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {step: [] for step in (*STEPS, _WHOLE)}
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="auerbach-bench-")))
        parts = closing.enter_context(stores(folder, "steps"))
        bench = await Bench.open(*closing.enter_context(stores(folder, "whole")))
        makers = [create(f"group-{n}", MEMBERS) for n in range(GROUPS)]
        for maker in makers:
            await bench.decide(maker)
        tables = PartitionTables(*parts)
        started = Steps(tables, [record(makers)])
        started.decode()
        started.decide_and_fold()
        for n in range(rounds + 1):
            values = _messages(n, commands, size)
            steps = Steps(tables, values)
            took = {step: _timed(run, steps) for step, run in STEPS.items()}
            took[_WHOLE] = await bench.handle(values)
            for step, seconds in took.items() if n else ():  # the first warms up
                found[step].append(seconds / commands * 1e6)
        await bench.partition.close()
    return found


def _timed(run: Callable[[Steps], None], steps: Steps) -> float:
    began = time.thread_time()
    run(steps)
    return time.thread_time() - began


def _messages(n: int, count: int, size: int) -> list[bytes]:
    chance = random.Random(n)

    def message(number: int) -> AnyCommand:
        by = f"user-{chance.randrange(MEMBERS)}"
        return post(f"group-{chance.randrange(GROUPS)}", number, by, run=f"round-{n}")

    # Numbers of its own for each round: a `client_msg_id` used twice would be a repetition.
    return [
        record([message(n * count + at) for at in range(start, min(start + size, count))])
        for start in range(0, count, size)
    ]


if __name__ == "__main__":
    main()
