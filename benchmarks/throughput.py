"""`python -m benchmarks.throughput`: how many commands one processor decides in a second, and what each costs it.

One processor on a broker of its own; in each round, for each number of commands a record, messages for many groups in
all partitions are appended as fast as the broker takes them, and the steady part (from a tenth to nineteen twentieths
of the events) is timed: events a second, and the CPU time of the processor for each. A processor is one Python thread
and librdkafka's: the CPU time says what one core could do, whatever else the machine does.

The same records then go to processes in the processor's place, which are its limits: bare librdkafka that writes a
record for each command, and bare Faust agents, one that does so and one that only acknowledges (`limits`).

`--profile` says where the time goes: the processor then runs under cProfile, which makes it about half as fast.
"""

import itertools
import pstats
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import click

from app.domain.commands import Send
from app.kafka.topics import COMMANDS
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import Lab, Part, Worker, create, lab, post, record
from benchmarks.limits import parts, topics
from tests.support.waiting import eventually

QUICK = "--rounds 1 --commands 24000 --sizes 16 --partitions 1 --groups 8"
SIZES = (1, 4, 16, 64)
LIMITED = (1, 16)  # the sizes at which the limits are taken, too
CREATED_AT_ONCE = 50
TARGET_AT_16 = 12_000
_STEADY = (0.1, 0.95)
_SAMPLE_S = 0.05
_ROUND_S = 120
_PROFILED = ("-m", "benchmarks.profiled")
_OURS, _BARE = "the processor", "bare librdkafka"


class Load:
    """Messages of members of many groups, in records of one partition each."""

    def __init__(self, service: Lab, groups: int, members: int) -> None:
        self._groups: dict[int, list[str]] = {}
        self._members = members
        self._numbers = itertools.count()
        self._chance = random.Random(1)
        for name in (f"group-{n}" for n in range(groups)):
            self._groups.setdefault(service.partition(name), []).append(name)

    def groups(self) -> list[tuple[int, bytes]]:
        """The records that make the groups, some in each."""
        return [
            (partition, record([create(name, self._members) for name in names[start : start + CREATED_AT_ONCE]]))
            for partition, names in self._groups.items()
            for start in range(0, len(names), CREATED_AT_ONCE)
        ]

    def messages(self, commands: int, size: int) -> list[tuple[int, bytes]]:
        """Records of `size` messages each, `commands` in all, one partition after the other."""
        partitions = itertools.cycle(self._groups.items())
        return [
            (partition, record([self._message(names) for _ in range(size)]))
            for partition, names in itertools.islice(partitions, commands // size)
        ]

    def _message(self, names: list[str]) -> Send:
        by = f"user-{self._chance.randrange(self._members)}"
        return post(self._chance.choice(names), next(self._numbers), by)


@dataclass
class Way:
    """What commands are given to, how many it is done with, and by size what was found: commands/s, CPU s a command."""

    topic: str
    part: Part
    done: Callable[[], int]
    rates: dict[int, list[float]] = field(default_factory=dict)
    costs: dict[int, list[float]] = field(default_factory=dict)

    def measure(self, service: Lab, records: Sequence[tuple[int, bytes]], size: int) -> None:
        """Append `records` of so many commands, and note what the steady part of them took."""
        rate, cost = _steady(service, self, records, size)
        self.rates.setdefault(size, []).append(rate)
        self.costs.setdefault(size, []).append(cost)


def measure(service: Lab, worker: Worker, records: Sequence[tuple[int, bytes]], size: int) -> tuple[float, float]:
    """Append `records` and see them become events: (events a second, CPU seconds an event) of the steady part."""
    return _steady(service, Way(COMMANDS, worker, service.written), records, size)


def _steady(service: Lab, way: Way, records: Sequence[tuple[int, bytes]], size: int) -> tuple[float, float]:
    before = way.done()
    total = len(records) * size
    start = (time.monotonic(), way.part.cpu_s(), 0)
    service.write(records, way.topic)
    samples = [start, *_samples(way, before, total)]
    first = next(s for s in samples if s[2] >= total * _STEADY[0])
    last = next(s for s in samples if s[2] >= total * _STEADY[1])
    if last[2] == first[2]:
        # A machine that stood still between two samples: what can be told is what it took from the one before.
        say(f"{total} commands were over between two samples: ask for more of them")
        first = next(s for s in reversed(samples) if s[2] < last[2])
    events = last[2] - first[2]
    return events / (last[0] - first[0]), (last[1] - first[1]) / events


def _samples(way: Way, before: int, total: int) -> Iterator[tuple[float, float, int]]:
    """(monotonic instant, CPU seconds, events) until all events are there."""
    deadline = time.monotonic() + _ROUND_S
    events = 0
    while events < total:
        if time.monotonic() > deadline:
            raise click.ClickException(f"{events} of {total} events after {_ROUND_S} s")
        time.sleep(_SAMPLE_S)
        events = way.done() - before
        yield time.monotonic(), way.part.cpu_s(), events


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds, each with all sizes.")
@click.option("--commands", default=40_000, show_default=True, help="Commands a round; a fifth at 1 a record.")
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Commands a record.")
@click.option("--partitions", default=16, show_default=True)
@click.option("--groups", default=400, show_default=True)
@click.option("--members", default=10, show_default=True, help="Members a group.")
@click.option("--limits/--no-limits", default=True, show_default=True, help=f"The limits, at {LIMITED} a record.")
@click.option("--profile", is_flag=True, help="Run the processor alone, under cProfile; print where the time goes.")
def main(
    rounds: int, commands: int, sizes: str, partitions: int, groups: int, members: int, limits: bool, profile: bool
) -> None:
    """Commands a second of one processor, by the number of commands in a record."""
    load = load_now()
    each = [int(size) for size in sizes.split(",")]
    with lab(partitions) as service:
        work = Load(service, groups, members)
        worker = service.worker(program=_PROFILED) if profile else service.worker()
        worker.wait_open(partitions)
        ways = {_OURS: Way(COMMANDS, worker, service.written)}
        service.write(work.groups())
        service.wait_written(partitions + groups)
        if limits and not profile:
            ways |= _limits(service)
        _warm(service, ways, work.messages(max(commands // 10, 640), each[-1]), each[-1])
        if profile:
            worker.signal(signal.SIGPROF)
        for n, size, (name, way) in itertools.product(range(rounds), each, ways.items()):
            if name == _OURS or size in LIMITED:
                way.measure(service, work.messages(commands // 5 if size == 1 else commands, size), size)
                found = f"{way.rates[size][-1]:,.0f}/s, {way.costs[size][-1] * 1e6:.0f} µs of CPU each"
                say(f"round {n + 1}: {name}, {size} a record: {found}")
        worker.stop()
        if profile:
            pstats.Stats(str(service.folder / "processor.prof")).sort_stats("tottime").print_stats(45)
    tell("Throughput of one processor" + (", under cProfile" if profile else ""), load, list(_figures(ways)))


def _limits(service: Lab) -> dict[str, Way]:
    """The limits by name, started; the one that is held against comes first."""
    topics.make(service.bootstrap, service.partitions, (topics.PIPE, topics.FORWARD, topics.ACKNOWLEDGE))
    started = {
        _BARE: parts.pipe(service),
        "bare Faust, forwarding": parts.agent(service, service.partitions, forward=True),
        "bare Faust, acknowledging": parts.agent(service, service.partitions, forward=False),
    }
    for part in started.values():
        service.owns(part).wait_assigned()
    return {name: Way(part.topic, part, part.done) for name, part in started.items()}


def _warm(service: Lab, ways: dict[str, Way], records: Sequence[tuple[int, bytes]], size: int) -> None:
    for name, way in ways.items():
        due = way.done() + len(records) * size
        service.write(records, way.topic)
        eventually(lambda way=way, due=due: way.done() >= due, within_s=_ROUND_S, what=f"{name} is warm")  # type: ignore[misc]


def _figures(ways: dict[str, Way]) -> Iterator[Figure]:
    ours = ways.pop(_OURS)
    rates, costs = [], []
    for name, way in ways.items():
        rates += [Figure(f"{name}, at {size} a record", "commands/s", values) for size, values in way.rates.items()]
        costs += [_cost(f"{name}, CPU at {size} a record", values) for size, values in way.costs.items()]
    bare = {figure.name: figure for figure in (*rates, *costs)}
    for size, values in ours.rates.items():
        target = TARGET_AT_16 if size == 16 else None
        limit = bare.get(f"{_BARE}, at {size} a record")
        yield Figure(f"at {size} a record", "commands/s", values, at_least=target, limit=limit)
    yield from rates
    for size, values in ours.costs.items():
        limit = bare.get(f"{_BARE}, CPU at {size} a record")
        yield _cost(f"CPU of the processor at {size} a record", values, limit)
    yield from costs
    for size, values in ours.costs.items():
        yield Figure(f"one core, at {size} a record", "commands/CPU s", [1 / v for v in values if v])


def _cost(name: str, values: Sequence[float], limit: Figure | None = None) -> Figure:
    return Figure(name, "µs a command", [v * 1e6 for v in values], limit=limit)


if __name__ == "__main__":
    main()
