"""Kills under load, through real sockets: what was acknowledged is there, once, and no reader's run breaks."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from auerbach_client import Client, Event

from app.kafka import topics
from app.reads import decode_owner
from tests.support.driver import Driver
from tests.support.stack import MakeStack, Stack
from tests.support.waiting import eventually

Disturbance = Callable[[Stack, dict[str, Any]], Coroutine[Any, Any, None]]

MESSAGES = 400
WRITERS = 4
GROUPS = 3
DEADLINE_S = 120


async def write(stack: Stack, writer: int, groups: list[str], acked: dict[str, tuple[str, int]]) -> None:
    """One user who posts in every group, on a gateway of its own."""
    async with Client(stack.http_url(writer % 2), user=f"writer-{writer}") as chat:
        for group in groups:
            await chat.join(group)
        for first in range(0, MESSAGES, 10):
            batch = (
                chat.send(groups[n % GROUPS], f"{writer}/{n}", client_msg_id=f"{writer}/{n}")
                for n in range(first, first + 10)
            )
            for ack in await asyncio.gather(*batch):
                assert ack.seq is not None
                acked[f"{ack.group}/{ack.seq}"] = (ack.group, ack.seq)


async def read(stack: Stack, gateway: int, group: str, count: int) -> list[bytes]:
    """All of a group's events as one reader sees them, from the first to the `count`th."""
    frames = []
    async with Client(stack.http_url(gateway), user="olga") as chat, chat.subscribe(group, after=0) as events:
        async for event in events:
            assert isinstance(event, Event), event
            frames.append(event.raw)
            assert event.seq == len(frames)
            if event.seq == count:
                return frames
    raise AssertionError("the run ended")


async def disturbed(stack: Stack, disturb: Disturbance) -> None:
    """Write and read while `disturb` does its worst; then hold what was seen against the log."""
    groups = [f"chaos-{n}-{random.randrange(10**9)}" for n in range(GROUPS)]
    async with Client(stack.http_url(0), user="olga") as olga:
        for group in groups:
            await olga.create_group(group, name="Chaos", join="open")
    posted = WRITERS * MESSAGES
    counts = {
        group: 1 + WRITERS + sum(n % GROUPS == i for n in range(MESSAGES)) * WRITERS for i, group in enumerate(groups)
    }
    acked: dict[str, tuple[str, int]] = {}
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        readers = {
            (group, gateway): tasks.create_task(read(stack, gateway, group, counts[group]))
            for group in groups
            for gateway in (0, 1)
        }
        tasks.create_task(disturb(stack, acked))
        for writer in range(WRITERS):
            tasks.create_task(write(stack, writer, groups, acked))
    driver = Driver(stack.bootstrap)
    assert len(acked) == posted
    for group in groups:
        log = [v.record.value for v in driver.log() if v.event.group == group]
        assert readers[group, 0].result() == readers[group, 1].result() == log
        keys = Counter(e.client_msg_id for e in driver.events(group) if e.kind == "message.posted")
        assert set(keys.values()) == {1}
    posts = {f"{v.event.group}/{v.event.seq}" for v in driver.log() if v.event.kind == "message.posted"}
    assert set(acked) == posts
    assert not driver.read(topics.DEAD_LETTERS)


async def more(acked: dict[str, Any], count: int = 150) -> None:
    """Wait until the service has acknowledged some more: the next blow falls under load, at no particular moment."""
    before = len(acked)
    enough = min(before + count, WRITERS * MESSAGES)
    await asyncio.to_thread(eventually, lambda: len(acked) >= enough, within_s=60, what=f"{enough} acknowledged")


async def kill_processors(stack: Stack, acked: dict[str, Any]) -> None:
    for name in ("processor-0", "processor-1", "processor-0"):
        await more(acked)
        pid = stack.kill(name)
        await asyncio.to_thread(stack.wait_restarted, name, pid)


async def kill_gateways(stack: Stack, acked: dict[str, Any]) -> None:
    for name in ("gateway-1", "gateway-0"):
        await more(acked)
        pid = stack.kill(name)
        await asyncio.to_thread(stack.wait_restarted, name, pid)
        await asyncio.to_thread(stack.wait_ready)


async def pause_a_processor(stack: Stack, acked: dict[str, Any]) -> None:
    """Until another owner has claimed all it had: when it comes back, what it still writes is void."""
    await more(acked)
    stack.kill("processor-0", signal.SIGSTOP)
    driver = Driver(stack.bootstrap)

    def moved() -> bool:
        owners = {m.key(): decode_owner(m.value()).worker for m in driver.read(topics.OWNERS)}
        return set(owners.values()) == {"processor-1"}

    await asyncio.to_thread(eventually, moved, within_s=40, what="processor-1 owns all partitions")
    stack.kill("processor-0", signal.SIGCONT)


@pytest.mark.parametrize("disturb", [kill_processors, kill_gateways, pause_a_processor])
def test_every_line_is_acknowledged_once_and_every_reader_sees_the_log(
    make_stack: MakeStack, disturb: Disturbance
) -> None:
    stack = make_stack(settings={"AUERBACH_SESSION_TIMEOUT_S": "6"})
    asyncio.run(disturbed(stack, disturb))
