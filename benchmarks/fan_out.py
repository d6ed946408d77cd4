"""`python -m benchmarks.fan_out`: CPU for each frame that is delivered, from the Kafka record to the socket.

The gateway's parts run in this process: reader, intake, hub, subscriptions, outboxes, aiohttp on uvloop. The members of
one group are in another one, with the owner who writes the group's events to a broker. What the gateway takes for a
frame is told as the multiple of what a bare loop of `send(2)` in C takes over the very same sockets, when a record has
been read as well, so that both find the caches as the broker and the members have left them. Rounds take turns.
"""

import asyncio
import contextlib
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
from web.intake import Intake
from web.log_reader import LogReader, RawRecord, Start

QUICK = "--rounds 1 --members 20 --messages 20"
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
    limit = Figure("send(2) in a C loop", "µs a frame", [cost * 1e6 for cost in bare])
    tell(
        f"CPU for each delivered frame, {members:,} members, frames of {len(_frame())} bytes",
        load,
        [
            limit,
            Figure("one message at a time", "µs a frame", [cost * 1e6 for cost in one], limit=limit),
            Figure(f"bursts of {BURST}", "µs a frame", [cost * 1e6 for cost in burst], limit=limit),
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
    async with _gateway(service) as (port, tap), _Members(service, port, members) as group:
        with send_loop(_accepted(port)) as send_all:

            async def bare_s() -> float:
                tap.send_all, tap.spent_s = send_all, 0.0
                await group.do("again", messages, 1)
                tap.send_all = None
                return tap.spent_s / messages / members

            async def posted_s(size: int) -> float:
                began = time.process_time()
                await group.do("post", messages // size, size)
                return (time.process_time() - began) / (messages // size * size) / members

            for n in range(rounds + 1):
                costs = await posted_s(1), await bare_s(), await posted_s(BURST)
                say(f"round {n}: " + ", ".join(f"{cost * 1e6:.2f}" for cost in costs) + " µs a frame")
                if n:  # the first one warms up
                    for found, cost in zip((one, bare, burst), costs, strict=True):
                        found.append(cost)
    return bare, one, burst


class _Tap:
    """Between the log's reader and the gateway: with `send_all` it sends the frames itself, and says what that took."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.send_all: SendAll | None = None
        self.spent_s = 0.0

    def begin(self, start: Start) -> None:
        self._intake.begin(start)

    def take(self, records: list[RawRecord]) -> None:
        if self.send_all is None:
            self._intake.take(records)
            return
        for record in records:
            frame = text_frame(record.value() or b"")
            began = time.process_time()
            self.send_all(frame)
            self.spent_s += time.process_time() - began


class _Members:
    """The process at the other end of the sockets."""

    def __init__(self, service: Lab, port: int, members: int) -> None:
        self._program = [sys.executable, "-m", "benchmarks.members", "--bootstrap", service.bootstrap]
        self._program += ["--port", str(port), "--members", str(members)]

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._program, stdin=pipe, stdout=pipe)
        await self._done()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            self._process.kill()

    async def do(self, task: str, bursts: int, size: int) -> None:
        """Hand it a task, and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{task} {bursts} {size}\n".encode())
        await self._process.stdin.drain()
        await self._done()

    async def _done(self) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(_WITHIN_S):
            if await self._process.stdout.readline() != b"done\n":
                raise RuntimeError("the members' process has ended")


class _Reads(World):
    """A gateway's parts whose reads are answered here: everybody is a member, and nothing is to be replayed."""

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:  # noqa: ARG002
        return Answer(epoch=EPOCH, offset=make(0).end, seq=HEAD, start=HEAD + 1)


@asynccontextmanager
async def _gateway(service: Lab) -> AsyncIterator[tuple[int, _Tap]]:
    """A gateway that reads the lab's log; its port, and where one may get between."""
    claim = Claim(log=service.layout.log_id, worker="bench", at=event(HEAD).at)
    log = producer(service.bootstrap)
    log.produce(topics.EVENTS, encode_claim(claim), None, 0, headers=claim_headers())
    if log.flush(_WITHIN_S):
        raise RuntimeError("the broker did not take the claim")
    world = _Reads()
    tap = _Tap(world.intake)
    reader = LogReader(service.bootstrap, service.layout, tap, world.failures.append)
    async with running(world) as gateway:
        reader.start()
        try:
            yield int(gateway.url.rpartition(":")[2]), tap
        finally:
            await reader.close()
            for failed in world.failures:
                raise failed


def _accepted(port: int) -> list[int]:
    """A descriptor of each of this process's own connections at `port`: the hub has a second one of each."""
    found: dict[object, int] = {}
    for each in sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            connection = socket.socket(fileno=each)
            try:
                if (peer := connection.getpeername()) and connection.getsockname()[1] == port:
                    found.setdefault(peer, each)
            finally:
                connection.detach()  # it is not ours to close
    return list(found.values())


def _frame() -> bytes:
    return text_frame(encode_event(event(HEAD + 1)))


if __name__ == "__main__":
    main()
