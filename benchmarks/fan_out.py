"""`python -m benchmarks.fan_out`: CPU for each frame that is delivered, from the Kafka record to the socket.

The gateway's parts run in this process: reader, intake, hub, subscriptions, outboxes, aiohttp on uvloop. The members of
one group are in another one, with the owner who writes the group's events to a broker. What the gateway takes for a
frame is told as the multiple of what a bare loop of `send(2)` in C takes over the very same sockets. Rounds take turns.
"""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import click
import uvloop

from app.domain.events import encode_event
from app.kafka import topics
from app.log.records import Claim, claim_headers, encode_claim
from app.reads import Answer, AnyRead
from benchmarks.figures import Figure, load_now, ratios, say, tell
from benchmarks.lab import Lab, lab, producer
from benchmarks.members import EPOCH, HEAD, event
from benchmarks.send_loop import SendAll, send_loop
from tests.unit.web.world import World, running
from web.frames import text_frame
from web.log_reader import LogReader

MEMBERS = 1_000
BURST = 10
ONE_AT_MOST = 1.5
BURST_AT_MOST = 0.3
_WITHIN_S = 120.0
_STOP_S = 10.0


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--members", default=MEMBERS, show_default=True)
@click.option("--messages", default=300, show_default=True, help="Messages a round, of each way.")
def main(rounds: int, members: int, messages: int) -> None:
    """The cost of a delivered frame against a bare loop of send(2)."""
    load = load_now()
    with lab(partitions=1) as service:
        costs = uvloop.run(_measure(service, rounds, members, messages))
    bare, one, burst = costs
    bound = members >= MEMBERS
    tell(
        f"CPU for each delivered frame, {members:,} members, frames of {len(_frame())} bytes",
        load,
        [
            Figure("send(2) in a C loop", "µs a frame", [cost * 1e6 for cost in bare]),
            Figure("one message at a time", "µs a frame", [cost * 1e6 for cost in one]),
            Figure(f"bursts of {BURST}", "µs a frame", [cost * 1e6 for cost in burst]),
            Figure("one at a time / C loop", "ratio", ratios(one, bare), at_most=ONE_AT_MOST if bound else None),
            Figure(
                f"bursts of {BURST} / C loop", "ratio", ratios(burst, bare), at_most=BURST_AT_MOST if bound else None
            ),
        ],
    )


async def _measure(
    service: Lab, rounds: int, members: int, messages: int
) -> tuple[list[float], list[float], list[float]]:
    """CPU seconds a frame, a round each: of the C loop, one message at a time, in bursts."""
    bare: list[float] = []
    one: list[float] = []
    burst: list[float] = []
    async with _gateway(service) as port, _Members(service, port, members) as group:
        with send_loop(_accepted(port)) as send_all:
            for n in range(rounds + 1):
                costs = (
                    await _bare(group, send_all, members, messages),
                    await _posted(group, members, messages, 1),
                    await _posted(group, members, messages, BURST),
                )
                say(f"round {n}: " + ", ".join(f"{cost * 1e6:.2f}" for cost in costs) + " µs a frame")
                if n:  # the first one warms up
                    for found, cost in zip((bare, one, burst), costs, strict=True):
                        found.append(cost)
    return bare, one, burst


async def _bare(group: "_Members", send_all: SendAll, members: int, messages: int) -> float:
    frame, spent = _frame(), 0.0
    for _ in range(messages):
        await group.begin(f"take {len(frame) * members}")
        began = time.process_time()
        send_all(frame)
        spent += time.process_time() - began
        await group.done()
    return spent / messages / members


async def _posted(group: "_Members", members: int, messages: int, size: int) -> float:
    began = time.process_time()
    await group.begin(f"post {messages // size} {size}")
    await group.done()
    return (time.process_time() - began) / (messages // size * size) / members


class _Members:
    """The process at the other end of the sockets."""

    def __init__(self, service: Lab, port: int, members: int) -> None:
        self._program = [sys.executable, "-m", "benchmarks.members", "--bootstrap", service.bootstrap]
        self._program += ["--port", str(port), "--members", str(members)]

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._program, stdin=pipe, stdout=pipe)
        await self.done()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()

    async def begin(self, task: str) -> None:
        """Hand it a task."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{task}\n".encode())
        await self._process.stdin.drain()

    async def done(self) -> None:
        """Wait until the task is done."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_WITHIN_S):
            if await self._process.stdout.readline() != b"done\n":
                raise RuntimeError("the members' process has ended")


class _Reads(World):
    """A gateway's parts whose reads are answered here: everybody is a member, and nothing is to be replayed."""

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:  # noqa: ARG002
        return Answer(epoch=EPOCH, offset=make(0).end, seq=HEAD, start=HEAD + 1)


@asynccontextmanager
async def _gateway(service: Lab) -> AsyncIterator[int]:
    """A gateway that reads the lab's log; its port."""
    claim = Claim(log=service.layout.log_id, worker="bench", at=event(HEAD).at)
    log = producer(service.bootstrap)
    log.produce(topics.EVENTS, encode_claim(claim), None, 0, headers=claim_headers())
    if log.flush(_WITHIN_S):
        raise RuntimeError("the broker did not take the claim")
    world = _Reads()
    reader = LogReader(service.bootstrap, service.layout, world.intake, world.failures.append)
    async with running(world) as gateway:
        reader.start()
        try:
            yield int(gateway.url.rpartition(":")[2])
        finally:
            await reader.close()
            for failed in world.failures:
                raise failed


def _accepted(port: int) -> list[int]:
    """The descriptors of this process's own connections at `port`."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(each.name))) as connection:
            if connection.getpeername() and connection.getsockname()[1] == port:
                found.append(int(each.name))
    return found


def _frame() -> bytes:
    return text_frame(encode_event(event(HEAD + 1)))


if __name__ == "__main__":
    main()
