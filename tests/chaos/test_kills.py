"""Kills under load, through real sockets: a real chat log goes through once, and whoever reads it reads the same bytes.

`python -m benchmarks.replay` in small: with the sample, and with blows that fall where they are meant to.
"""

import asyncio
import random
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.cli.playback import log
from app.cli.playback.log import Channel
from app.kafka import topics
from app.reads import decode_owner
from benchmarks.demo import SAMPLE
from benchmarks.reader import CUT_EVENTS
from benchmarks.record import Record
from benchmarks.replaying import Readers, faults, play, verify
from tests.support.driver import Driver
from tests.support.stack import MakeStack, Stack
from tests.support.waiting import eventually

Disturbance = Callable[[Stack, Record], Coroutine[Any, Any, None]]

LINES = 400  # of each group
DEADLINE_S = 400
WITHIN_S = 150


def talk() -> list[Channel]:
    """The sample's groups, their beginnings."""
    beginnings = [(channel.group, channel.lines[:LINES]) for channel in log.read(SAMPLE)]
    return [Channel(group, lines, dict.fromkeys(line.by for line in lines)) for group, lines in beginnings]


async def disturbed(stack: Stack, channels: list[Channel], record: Record, disturb: Disturbance) -> Readers:
    """Play while `disturb` does its worst."""
    urls = [stack.http_url(0), stack.http_url(1)]
    seed = random.randrange(10**6)
    async with asyncio.timeout(DEADLINE_S):
        return await play(urls, channels, record, partial(disturb, stack), seed=seed, cut_events=CUT_EVENTS)


async def more(record: Record, count: int = 150) -> None:
    """Wait until the service has acknowledged some more: the next blow falls under load, at no particular moment."""
    enough = min(record.settled + count, record.lines)
    await asyncio.to_thread(
        eventually, lambda: record.settled >= enough, within_s=WITHIN_S, what=f"{enough} acknowledged"
    )


async def kill_processors(stack: Stack, record: Record) -> None:
    for name in ("processor-0", "processor-1", "processor-0"):
        await more(record)
        pid = stack.kill(name)
        await asyncio.to_thread(stack.wait_restarted, name, pid)


async def kill_gateways(stack: Stack, record: Record) -> None:
    for name in ("gateway-1", "gateway-0"):
        await more(record)
        pid = stack.kill(name)
        await asyncio.to_thread(stack.wait_restarted, name, pid)
        await asyncio.to_thread(stack.wait_ready)


async def pause_a_processor(stack: Stack, record: Record) -> None:
    """Until another owner has claimed all it had: when it comes back, what it still writes is void."""
    await more(record)
    stack.kill("processor-0", signal.SIGSTOP)
    driver = Driver(stack.bootstrap)

    def moved() -> bool:
        owners = {m.key(): decode_owner(m.value()).worker for m in driver.read(topics.OWNERS)}
        return set(owners.values()) == {"processor-1"}

    await asyncio.to_thread(eventually, moved, within_s=WITHIN_S, what="processor-1 owns all partitions")
    stack.kill("processor-0", signal.SIGCONT)


@pytest.mark.parametrize("disturb", [kill_processors, kill_gateways, pause_a_processor])
def test_every_line_is_acknowledged_once_and_every_reader_sees_the_log(
    make_stack: MakeStack, tmp_path: Path, disturb: Disturbance
) -> None:
    stack = make_stack(settings={"AUERBACH_SESSION_TIMEOUT_S": "6"})
    channels = talk()
    acks = tmp_path / "acks.jsonl"
    with acks.open("wb") as lines:
        record = Record(channels, lines)
        readers = asyncio.run(disturbed(stack, channels, record, disturb))

    found, kinds = faults(stack.bootstrap, channels, record, readers)
    verified = verify(stack.env, stack.bootstrap, acks)

    assert found == []
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert kinds["event"] == record.lines + len(channels)
    assert all(reader.cuts for reader in readers.cut)
    assert not Driver(stack.bootstrap).read(topics.DEAD_LETTERS)
