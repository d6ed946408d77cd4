"""`python -m benchmarks.round_trip`: from `send` to the last member of the group, through the whole service.

Broker, processor, gateway and clients are processes on this machine. Messages leave at a steady rate, paced by the
clock and not by the answers, each from a member of a group of ten; what counts is when all ten have it.
"""

import asyncio
import time
from dataclasses import dataclass, field

import click
import uvloop

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import TEXT, create, lab, record
from benchmarks.raw_client import RawClient

QUICK = "--rounds 1 --seconds 1 --rate 20 --groups 2 --partitions 1"
RATE = 200
MEMBERS = 10
AT_MOST_MS = 25.0
_PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_WARM_S = 1.0
_DRAIN_S = 30.0


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
        clients = [(name, _open(gateway.port, name, n)) for name in names for n in range(members)]
        found = uvloop.run(_measure(clients, members, rounds, seconds, rate))
    bound = AT_MOST_MS if (rate, members) == (RATE, MEMBERS) else None
    tell(
        f"From `send` to the last of {members} members, {rate} messages/s in {groups} groups",
        load,
        [Figure(part, "ms", found[part], at_most=bound if part == "p99" else None) for part in _PARTS],
    )


def _open(port: int, group: str, number: int) -> RawClient:
    client = RawClient(port, f"user-{number}")
    client.ask(type="subscribe", id=1, group=group, state=False)
    return client


async def _measure(
    clients: list[tuple[str, RawClient]], members: int, rounds: int, seconds: float, rate: int
) -> dict[str, list[float]]:
    """Milliseconds by part, a round each."""
    loop = asyncio.get_running_loop()
    clock = _Clock(members)
    senders = clients[::members]
    transports = []
    for _, client in clients:
        client.socket.setblocking(False)
        transport, _member = await loop.create_connection(lambda: _Member(clock), sock=client.socket)
        transports.append(transport)
    found: dict[str, list[float]] = {part: [] for part in _PARTS}
    number = 0
    for n in range(rounds + 1):
        began = number
        due = loop.time()
        ends = due + (seconds if n else _WARM_S)
        while due < ends:
            group, client = senders[number % len(senders)]
            key = f"{number:012}"
            clock.left(key.encode())
            client.send({"type": "send", "id": number, "group": group, "text": TEXT, "client_msg_id": key})
            number += 1
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
        async with asyncio.timeout(_DRAIN_S):
            await clock.none_due.wait()
        if n:
            took = sorted(clock.sent[f"{i:012}".encode()].took_s or 0.0 for i in range(began, number))
            for part, share in _PARTS.items():
                found[part].append(1000 * took[min(len(took) - 1, int(share * len(took)))])
            say(f"round {n}: " + ", ".join(f"{part} {found[part][-1]:.1f} ms" for part in _PARTS))
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)
    return found


if __name__ == "__main__":
    main()
