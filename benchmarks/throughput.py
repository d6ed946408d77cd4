"""`python -m benchmarks.throughput`: how many commands one processor decides in a second, and what each costs it.

One processor on a broker of its own; in each round, for each number of commands a record, messages for many groups in
all partitions are appended as fast as the broker takes them, and the steady part (from a tenth to nineteen twentieths
of the events) is timed: events a second, and the CPU time of the processor for each. A processor is one Python thread
and librdkafka's: the CPU time says what one core could do, whatever else the machine does.

`--profile` says where the time goes: the processor then runs under cProfile, which makes it about half as fast.
"""

import itertools
import pstats
import random
import signal
import time
from collections.abc import Iterator, Sequence

import click

from app.domain.commands import Send
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import Lab, Worker, create, lab, post, record

QUICK = "--rounds 1 --commands 4000 --sizes 16 --partitions 1 --groups 8"
SIZES = (1, 4, 16, 64)
CREATED_AT_ONCE = 50
TARGET_AT_16 = 12_000
_STEADY = (0.1, 0.95)
_SAMPLE_S = 0.05
_ROUND_S = 120
_PROFILED = ("-m", "benchmarks.profiled")


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


def measure(service: Lab, worker: Worker, records: Sequence[tuple[int, bytes]], size: int) -> tuple[float, float]:
    """Append `records` and see them become events: (events a second, CPU seconds an event) of the steady part."""
    before = service.written()
    total = len(records) * size
    service.write(records)
    samples = list(_samples(service, worker, before, total))
    first = next(s for s in samples if s[2] >= total * _STEADY[0])
    last = next(s for s in samples if s[2] >= total * _STEADY[1])
    events = last[2] - first[2]
    if not events:
        raise click.ClickException(f"{total} commands were over between two samples: ask for more of them")
    return events / (last[0] - first[0]), (last[1] - first[1]) / events


def _warm(service: Lab, records: Sequence[tuple[int, bytes]], size: int) -> None:
    before = service.written()
    service.write(records)
    service.wait_written(before + len(records) * size)


def _samples(service: Lab, worker: Worker, before: int, total: int) -> Iterator[tuple[float, float, int]]:
    """(monotonic instant, CPU seconds, events) until all events are there."""
    deadline = time.monotonic() + _ROUND_S
    events = 0
    while events < total:
        if time.monotonic() > deadline:
            raise click.ClickException(f"{events} of {total} events after {_ROUND_S} s")
        time.sleep(_SAMPLE_S)
        events = service.written() - before
        yield time.monotonic(), worker.cpu_s(), events


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds, each with all sizes.")
@click.option("--commands", default=40_000, show_default=True, help="Commands a round; a fifth at 1 a record.")
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Commands a record.")
@click.option("--partitions", default=16, show_default=True)
@click.option("--groups", default=400, show_default=True)
@click.option("--members", default=10, show_default=True, help="Members a group.")
@click.option("--profile", is_flag=True, help="Run the processor under cProfile and print where the time goes.")
def main(rounds: int, commands: int, sizes: str, partitions: int, groups: int, members: int, profile: bool) -> None:
    """Commands a second of one processor, by the number of commands in a record."""
    load = load_now()
    each = [int(size) for size in sizes.split(",")]
    rates: dict[int, list[float]] = {size: [] for size in each}
    costs: dict[int, list[float]] = {size: [] for size in each}
    with lab(partitions) as service:
        work = Load(service, groups, members)
        worker = service.worker(program=_PROFILED) if profile else service.worker()
        worker.wait_open(partitions)
        service.write(work.groups())
        service.wait_written(partitions + groups)
        _warm(service, work.messages(max(commands // 10, 640), each[-1]), each[-1])
        if profile:
            worker.signal(signal.SIGPROF)
        for n in range(rounds):
            for size in each:
                records = work.messages(commands // 5 if size == 1 else commands, size)
                rate, cost = measure(service, worker, records, size)
                rates[size].append(rate)
                costs[size].append(cost)
                say(f"round {n + 1}: {size} a record: {rate:,.0f}/s, {cost * 1e6:.0f} µs of CPU each")
        worker.stop()
        if profile:
            pstats.Stats(str(service.folder / "processor.prof")).sort_stats("tottime").print_stats(45)
    tell("Throughput of one processor" + (", under cProfile" if profile else ""), load, list(_figures(rates, costs)))


def _figures(rates: dict[int, list[float]], costs: dict[int, list[float]]) -> Iterator[Figure]:
    for size, values in rates.items():
        yield Figure(f"at {size} a record", "commands/s", values, at_least=TARGET_AT_16 if size == 16 else None)
    for size, values in costs.items():
        yield Figure(f"CPU of the processor at {size} a record", "µs a command", [v * 1e6 for v in values])
    for size, values in costs.items():
        yield Figure(f"one core, at {size} a record", "commands/CPU s", [1 / v for v in values if v])


if __name__ == "__main__":
    main()
