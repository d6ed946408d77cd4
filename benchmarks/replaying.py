"""A log played through a service that is disturbed meanwhile, and what is held against what: readers, log, `verify`."""

import os
import random
import subprocess
import sys
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auerbach_client import Backoff

from app.cli.playback import player
from app.cli.playback.log import Channel
from app.cli.playback.speakers import Speakers
from app.cli.replay import maker
from app.cli.token import Credentials
from app.kafka import consumer, topics
from app.log.fence import Fence
from app.log.records import ClaimRecord, EventRecord, decode_record
from benchmarks.checking import Trace, audits, deviations
from benchmarks.reader import Reader, back_at_once
from benchmarks.record import Record

Disturb = Callable[[Record], Coroutine[Any, Any, None]]

SOCKETS = 2048
# Lines of a group under way at once, those of one speaker too, so that each is timed from when it leaves.
WINDOW = 32
# Between two cuts of a reader in a log of any length: a cut asks for every group again.
CUT_EVENTS = (1_000, 8_000)
_CONNECT_S = 60.0
_VERIFY_S = 300.0


@dataclass(frozen=True)
class Readers:
    """Who has read everything: `cut` ones that broke their connections, a `steady` one, one that began at the end."""

    cut: list[Reader]
    steady: Reader
    fresh: Reader

    def traces(self) -> dict[str, Mapping[str, Trace]]:
        """What each has seen."""
        return {reader.user: reader.traces for reader in (self.fresh, self.steady, *self.cut)}


async def play(
    urls: Sequence[str],
    channels: Sequence[Channel],
    record: Record,
    disturb: Disturb,
    *,
    seed: int,
    cut_events: tuple[int, int] = CUT_EVENTS,
    say: Callable[[str], None] = lambda _: None,
) -> Readers:
    """Send every line by its speaker, flat out, through gateways in development mode, while `disturb` does its worst.

    Returns:
        the readers, once each has as many events as there are.

    Raises:
        AuerbachError, ResetSeenError: the service let somebody down for good.
    """
    groups = [channel.group for channel in channels]
    make = maker(_who, urls, connect_timeout_s=_CONNECT_S, reconnect=_soon, pipeline=WINDOW)
    make_reader = maker(_who, urls, connect_timeout_s=_CONNECT_S, reconnect=back_at_once)
    cut = [
        Reader(make_reader(name), name, groups, chance=random.Random(f"{seed} {name}"), cut_events=cut_events)
        for name in ("ann", "ben")
    ]
    steady = Reader(make_reader("dora"), "dora", groups, record=record)
    fresh = Reader(make_reader("cleo"), "cleo", groups)
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(make(player.OWNER))
        speakers = await stack.enter_async_context(Speakers(make, SOCKETS))
        await player.prepare(owner, channels, others=[reader.user for reader in (*cut, steady, fresh)])
        seated = await speakers.seat(
            dict.fromkeys((channel.group, line.by) for channel in channels for line in channel.lines)
        )
        say(f"{len(channels)} groups are made, {seated:,} sockets open")
        for reader in (*cut, steady):
            await stack.enter_async_context(reader)
        async with TaskGroup() as both:
            both.create_task(disturb(record))
            both.create_task(_send(channels, speakers, record))
        say(record.summary()[0])
        heads = {group: (await owner.state(group)).seq for group in groups}
        for reader in (*cut, steady):
            await reader.reach(heads)
    async with fresh:
        await fresh.reach(heads)
    return Readers(cut, steady, fresh)


def faults(
    bootstrap: str, channels: Sequence[Channel], record: Record, readers: Readers
) -> tuple[list[str], Counter[str]]:
    """Whatever is not as it must be, and the records in the log by kind: `event`, `void`, `claim`.

    Kafka's own records, read under the fence, are held against the lines, and each reader's bytes against them.
    """
    audited = audits(channels, record)
    log: dict[str, Trace] = {group: Trace() for group in audited}
    kinds: Counter[str] = Counter()
    found = list(record.faults)
    for event in valid_events(bootstrap, kinds):
        if event.group not in audited:
            found.append(f"an event of a group that nobody made: {event.group}")
            continue
        log[event.group].add(event.value)
        audited[event.group].take(event.value)
    found += deviations(audited, {"the log": log, **readers.traces()})
    return found, kinds


def valid_events(bootstrap: str, kinds: Counter[str]) -> Iterator[EventRecord]:
    """All events that the fence admits, partition by partition; `kinds` counts what was met.

    Raises:
        ReadError, RecordError: the log cannot be read.
    """
    with consumer.reader(bootstrap) as reader:
        partitions = reader.list_topics(topics.EVENTS, timeout=10).topics[topics.EVENTS].partitions
        for partition in sorted(partitions):
            fence = Fence()
            low, end = consumer.offsets(reader, topics.EVENTS, partition)
            for m in consumer.read(reader, topics.EVENTS, partition, low, end):
                record = decode_record(offset=m.offset(), key=m.key(), value=m.value(), headers=m.headers())
                admitted = fence.admits(record)
                if isinstance(record, ClaimRecord):
                    kinds["claim"] += 1
                elif admitted:
                    kinds["event"] += 1
                    yield record
                else:
                    kinds["void"] += 1


def verify(
    env: Mapping[str, str], bootstrap: str, acks: Path, within_s: float = _VERIFY_S
) -> subprocess.CompletedProcess[str]:
    """`python -m app verify --acks FILE` against the service whose environment this is.

    Raises:
        TimeoutError: it is not at an end within `within_s`.
    """
    command = [sys.executable, "-m", "app", "verify", "--acks", os.fspath(acks)]
    env = {**env, "KAFKA_BOOTSTRAP": bootstrap}
    try:
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"verify: not within {within_s:g} s") from None


async def _send(channels: Sequence[Channel], speakers: Speakers, record: Record) -> None:
    with record.timed():
        await player.play(channels, speakers, record, speed=None, window=WINDOW)


def _who(user: str) -> Credentials:
    return {"user": user}


def _soon() -> Backoff:
    """Sooner than the protocol asks of clients: the load must go on while a process comes back."""
    return Backoff(0.1, 2.0)
