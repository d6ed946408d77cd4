"""`python -m benchmarks.round_trip`: from `send` to the last member of the group, through the whole service.

Broker, processor, gateway and clients are processes on this machine. Messages leave at a steady rate, paced by the
clock and not by the answers, each from a member of a group of ten; what counts is when all ten have it. The limit has
as many hops and nothing of ours: bare sockets and librdkafka in the places of gateway and processor (`limits`).
"""

import asyncio
import socket
import time
from dataclasses import dataclass, field
from typing import Protocol

import click
import uvloop

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import TEXT, Lab, Part, create, lab, record
from benchmarks.limits import parts, relay, topics
from benchmarks.raw_client import RawClient
from tests.support.ports import free_ports
from tests.support.waiting import eventually

QUICK = "--rounds 1 --seconds 1 --rate 20 --groups 2 --partitions 1"
RATE = 200
MEMBERS = 10
AT_MOST_MS = 25.0
_PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# The broker's JIT compiles in the first seconds of traffic: a round in them says 20 to 125 ms for the same service.
_WARM_S = 10.0
_STAYED_S = 0.5  # for the answers to the signs of life, a burst that is no part of the measured traffic
_DRAIN_S = 30.0
_OURS, _BARE = "the service", "bare sockets and librdkafka"


@dataclass(slots=True)
class _Sent:
    at: float
    missing: int
    took_s: float | None = None


@dataclass
class _Clock:
    """When each message left, and when the last member had it. `due`: those that are not with all yet."""

    members: int
    sent: dict[bytes, _Sent] = field(default_factory=dict)
    due: int = 0
    none_due: asyncio.Event = field(default_factory=asyncio.Event)

    def left(self, key: bytes) -> None:
        self.sent[key] = _Sent(time.monotonic(), self.members)
        self.due += 1
        self.none_due.clear()

    def arrived(self, key: bytes) -> None:
        sent = self.sent[key]
        sent.missing -= 1
        if not sent.missing:
            sent.took_s = time.monotonic() - sent.at
            self.due -= 1
            if not self.due:
                self.none_due.set()


class _Member(asyncio.Protocol):
    """A member's socket: looks only for the `client_msg_id` of each event."""

    _MARK, _SIZE = b'"client_msg_id":"', 12

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._held = b""

    def data_received(self, data: bytes) -> None:
        held = self._held + data
        at = held.find(self._MARK)
        while at >= 0 and len(held) >= at + len(self._MARK) + self._SIZE:
            begins = at + len(self._MARK)
            self._clock.arrived(held[begins : begins + self._SIZE])
            held = held[begins + self._SIZE :]
            at = held.find(self._MARK)
        self._held = held[at:] if at >= 0 else held[-len(self._MARK) :]


class _Client(Protocol):
    """A member's end, on whichever way."""

    socket: socket.socket

    def send(self, request: dict[str, object]) -> None:
        """Post a message."""

    def stay(self) -> None:
        """Show life, as a client must who only listens."""


class _Way:
    """The clients of one way, by group and member, and when their messages left and came."""

    def __init__(self, clients: list[tuple[str, _Client]], members: int, rate: float) -> None:
        self._clients = clients
        self._senders = clients[::members]
        self._clock = _Clock(members)
        self._rate = rate
        self._number = 0
        self._transports: list[asyncio.BaseTransport] = []

    async def connect(self) -> None:
        """Have the loop read all sockets."""
        loop = asyncio.get_running_loop()
        for _, client in self._clients:
            client.socket.setblocking(False)
            transport, _member = await loop.create_connection(lambda: _Member(self._clock), sock=client.socket)
            self._transports.append(transport)

    async def run(self, seconds: float) -> list[float]:
        """Send for so long, and wait until all have all: what each message took, seconds, in order of size."""
        loop = asyncio.get_running_loop()
        for _, client in self._clients:
            client.stay()
        await asyncio.sleep(_STAYED_S)
        began, due = self._number, loop.time()
        ends = due + seconds
        while due < ends:
            group, client = self._senders[self._number % len(self._senders)]
            key = f"{self._number:012}"
            self._clock.left(key.encode())
            client.send({"type": "send", "id": self._number, "group": group, "text": TEXT, "client_msg_id": key})
            self._number += 1
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - loop.time()))
        async with asyncio.timeout(_DRAIN_S):
            await self._clock.none_due.wait()
        sent = (self._clock.sent[f"{i:012}".encode()] for i in range(began, self._number))
        return sorted(each.took_s or 0.0 for each in sent)

    async def close(self) -> None:
        """Go."""
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of a round.")
@click.option("--rate", default=RATE, show_default=True, help="Messages a second, over all groups.")
@click.option("--groups", default=20, show_default=True)
@click.option("--members", default=MEMBERS, show_default=True, help="Members of each group, each with a socket.")
@click.option("--partitions", default=16, show_default=True)
def main(rounds: int, seconds: float, rate: int, groups: int, members: int, partitions: int) -> None:
    """From send to the last member."""
    load = load_now()
    names = [f"group-{n}" for n in range(groups)]
    with lab(partitions) as service:
        service.worker().wait_open(partitions)
        service.write([(service.partition(name), record([create(name, members)])) for name in names])
        service.wait_written(partitions + groups)
        gateway = service.gateway()
        gateway.wait_ready()
        places = [(name, n) for name in names for n in range(members)]
        ours = [(name, _open(gateway.port, name, n)) for name, n in places]
        found = {_OURS: uvloop.run(_measure(_OURS, _Way(ours, members, rate), rounds, seconds))}
        # Only now: its two processes would be a third of what two cores have to do for the service.
        port = _bare(service)
        theirs = [(name, relay.Client(port, name)) for name, _ in places]
        found[_BARE] = uvloop.run(_measure(_BARE, _Way(theirs, members, rate), rounds, seconds))
    bound = AT_MOST_MS if (rate, members) == (RATE, MEMBERS) else None
    bare = {part: Figure(f"{_BARE}: {part}", "ms", values) for part, values in found[_BARE].items()}
    figures = [
        Figure(part, "ms", values, at_most=bound if part == "p99" else None, limit=bare[part])
        for part, values in found[_OURS].items()
    ]
    title = f"From `send` to the last of {members} members, {rate} messages/s in {groups} groups"
    tell(title, load, [*bare.values(), *figures])


def _open(port: int, group: str, number: int) -> RawClient:
    client = RawClient(port, f"user-{number}")
    client.ask(type="subscribe", id=1, group=group, state=False)
    return client


def _bare(service: Lab) -> int:
    """Start the limit; the port of its relay."""
    topics.make(service.bootstrap, service.partitions)
    service.owns(parts.pipe(service)).wait_assigned()
    port = free_ports(1)
    options = ["--bootstrap", service.bootstrap, "--partitions", str(service.partitions), "--port", str(port)]
    started = service.owns(Part(service, "relay", ["-m", "benchmarks.limits.relay", *options]))
    eventually(lambda: relay.LISTENING.encode() in started.printed(), within_s=_DRAIN_S, what="the relay listens")
    return port


async def _measure(name: str, way: _Way, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Milliseconds by part, a round each."""
    found: dict[str, list[float]] = {part: [] for part in _PARTS}
    await way.connect()
    await way.run(_WARM_S)
    for n in range(rounds):
        took_s = await way.run(seconds)
        for part, share in _PARTS.items():
            found[part].append(1000 * took_s[min(len(took_s) - 1, int(share * len(took_s)))])
        told = ", ".join(f"{part} {values[-1]:.1f} ms" for part, values in found.items())
        say(f"round {n + 1}: {name}: {told}")
    await way.close()
    return found


if __name__ == "__main__":
    main()
