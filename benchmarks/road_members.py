"""Who goes the whole road: groups of members with a socket each, and what a run of messages was like for them."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.lab import TEXT, Lab, create, record
from benchmarks.raw_client import RawClient, client_frame
from benchmarks.road_loop import NONE, Message, Noted, RoadLoop, road_loop

DRAIN_S = 20.0
_CREATED_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Shape:
    """So many groups of so many members, and the messages a second over all of them."""

    groups: int
    members: int
    rate: float

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.groups:,} groups of {self.members:,}"


class Members:
    """The sockets of all shapes, in one loop."""

    def __init__(self, loop: RoadLoop, places: dict[Shape, list[tuple[str, int]]]) -> None:
        self._loop = loop
        self._places = places
        self._turns = {shape: itertools.cycle(_in_turn(shape, each)) for shape, each in places.items()}
        self._sent = 0

    def run(self, shape: Shape, rate: float, seconds: float, patience_s: float = DRAIN_S) -> "Outcome":
        """Messages of all groups in turn, each time by another member, at `rate` a second."""
        first, self._sent = self._sent, self._sent + round(rate * seconds)
        due = (round(n * 1e9 / rate) for n in itertools.count())
        turns = self._turns[shape]
        messages = [
            Message(next(due), sender, _send(group, number))
            for number, (group, sender) in zip(range(first, self._sent), turns, strict=False)
        ]
        noted = self._loop.run(messages, first=first, copies=shape.members, lasts_s=seconds, patience_s=patience_s)
        return Outcome(first, noted)

    def rest(self, seconds: float) -> None:
        """Send nothing, and read what comes."""
        self._loop.run([], first=self._sent, copies=1, lasts_s=seconds, patience_s=0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run: what was noted of the messages numbered from `first` on. Latencies are ms from when each was due."""

    first: int
    noted: Noted

    @property
    def whole(self) -> bool:
        """Whether every delivery and every acknowledgement came."""
        return not self.noted.missing and not self.noted.refused

    def deliveries_ms(self) -> list[float]:
        """Of each delivery that came to a member."""
        copies, arrived = self.noted.copies, self.noted.arrived
        return [
            (at - due) / 1000
            for n, due in enumerate(self.noted.due)
            for at in arrived[n * copies : (n + 1) * copies]
            if at != NONE
        ]

    def last_ms(self) -> list[float]:
        """Of each message's last delivery."""
        copies = self.noted.copies
        return _since(self.noted.due, self.noted.arrived[copies - 1 :: copies])

    def acknowledged_ms(self) -> list[float]:
        """Of each reply."""
        return _since(self.noted.due, self.noted.acked)

    def late_ms(self) -> list[float]:
        """How late each message left, by the clients' own fault."""
        return _since(self.noted.due, self.noted.sent)


@contextmanager
def members(service: Lab, ports: Sequence[int], shapes: Sequence[Shape]) -> Iterator[Members]:
    """Make each shape's groups and open a socket for each member, at the gateways in turn."""
    with ExitStack() as ending:
        port = itertools.cycle(ports)
        places: dict[Shape, list[tuple[str, int]]] = {}
        clients: list[RawClient] = []
        for shape in shapes:
            names = [f"road-{shape.groups}-{shape.members}-{n}" for n in range(shape.groups)]
            _create(service, names, shape.members)
            places[shape] = []
            for name, number in itertools.product(names, range(shape.members)):
                client = RawClient(next(port), f"user-{number}")
                ending.callback(client.close)
                client.ask(type="subscribe", id=-1, group=name, state=False)
                places[shape].append((name, len(clients)))
                clients.append(client)
        for client in clients:
            client.socket.setblocking(False)
        yield Members(ending.enter_context(road_loop([client.socket.fileno() for client in clients])), places)


def percentile(values: Sequence[float], share: float) -> float:
    """What this share of the values, at least one, does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _create(service: Lab, names: Sequence[str], count: int) -> None:
    before = service.written()
    parts: dict[int, list[str]] = {}
    for name in names:
        parts.setdefault(service.partition(name), []).append(name)
    records = [
        (partition, record([create(name, count) for name in each[start : start + _CREATED_AT_ONCE]]))
        for partition, each in parts.items()
        for start in range(0, len(each), _CREATED_AT_ONCE)
    ]
    service.write(records)
    service.wait_written(before + len(names))


def _in_turn(shape: Shape, places: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Each group's first member, then each one's second, …"""
    return [place for n in range(shape.members) for place in places[n :: shape.members]]


def _send(group: str, number: int) -> bytes:
    key = f"{number:012}"
    return client_frame({"type": "send", "id": number, "group": group, "text": TEXT, "client_msg_id": key})


def _since(due: Sequence[int], at: Sequence[int]) -> list[float]:
    return [(came - was) / 1000 for was, came in zip(due, at, strict=True) if came != NONE]
