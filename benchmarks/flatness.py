"""`python -m benchmarks.flatness`: does a message cost more where there is more of everything?

Pairs of a small and a large world take turns in one run: groups of 10 and of 10,000 members; a group's 1,000 and
1,000,000 events; 100 and 100,000 groups. What counts is the ratio of each round's two costs.

The partition runs in this process with both tables on disk (`in_process`: no broker), as one of the service's 16: with
100,000 groups it has 6,250. The pairs of members and of groups also run through real processors, where the CPU time of
the whole process is counted: RocksDB's threads and Kafka's too.
"""

import asyncio
import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from app.domain import instants
from app.domain.events import Event, GroupCreated, MessagePosted, NewMember
from benchmarks.figures import Figure, load_now, ratios, say, tell
from benchmarks.in_process import NOW_MS, Bench, stores
from benchmarks.lab import OWNER, TEXT, create, lab, post, record
from benchmarks.throughput import Load, measure

QUICK = "--rounds 1 --commands 32 --large 64 --no-real"
FLAT = 1.25
SIZE = 16  # commands a record
SHARE = 16  # partitions of the service: this is one of them

World = Callable[[Bench, int], list[str]]  # fills a partition with so many of something; the groups to write to
numbers = itertools.count()


def members(bench: Bench, count: int) -> list[str]:
    """Eight groups of so many members."""
    groups = [f"group-{n}" for n in range(8)]
    for group in groups:
        bench.fold([_created(group, count)])
    return groups


def history(bench: Bench, count: int) -> list[str]:
    """A group with so many events, a second apart, each with an id of its client's."""
    bench.fold(itertools.chain([_created("group", 10)], (_posted(seq, count) for seq in range(2, count + 1))))
    return ["group"]


def groups(bench: Bench, count: int) -> list[str]:
    """One partition's share of so many groups."""
    names = [f"group-{n}" for n in range(max(1, count // SHARE))]
    bench.fold(_created(name, 3) for name in names)
    return names


def uncached(bench: Bench, count: int) -> list[str]:
    """All of so many groups in one partition: more than are kept in memory."""
    return groups(bench, count * SHARE)


PAIRS: dict[str, tuple[World, int, int]] = {
    "members a group": (members, 10, 10_000),
    "events a group": (history, 1_000, 1_000_000),
    "groups": (groups, 100, 100_000),
    "groups in one partition, none in memory": (uncached, 100, 100_000),
}


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--commands", default=4_000, show_default=True, help="Messages a round and world.")
@click.option("--large", type=int, help="The large number of each pair, if not its own.")
@click.option("--real/--no-real", default=True, show_default=True, help="Also a real processor on a broker.")
def main(rounds: int, commands: int, large: int | None, real: bool) -> None:
    """The cost of a message in small and large worlds."""
    load = load_now()
    figures: list[Figure] = []
    for what, (fill, low, high) in PAIRS.items():
        costs = asyncio.run(_pair(fill, (low, large or high), rounds, commands))
        figures += _figures(what, (low, large or high), costs, bound=None if fill is uncached else FLAT)
    for what, run in REAL.items() if real else ():
        sizes = PAIRS[what][1], large or PAIRS[what][2]
        figures += _figures(f"{what}, real processor", sizes, run(sizes, rounds, 10 * commands), bound=FLAT)
    tell("Cost of a message", load, figures)


async def _pair(fill: World, sizes: tuple[int, int], rounds: int, commands: int) -> tuple[list[float], list[float]]:
    """CPU seconds a message, a round each, in the small world and in the large one."""
    costs: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="auerbach-bench-") as folder, ExitStack() as closing:
        worlds = []
        for size in sizes:
            bench = await Bench.open(*closing.enter_context(stores(Path(folder), str(size))))
            worlds.append((bench, fill(bench, size)))
        for n in range(rounds + 1):
            for (bench, names), found in zip(worlds, costs, strict=True):
                cost = await bench.handle(_messages(names, commands)) / commands
                if n:  # the first warms up
                    found.append(cost)
        for bench, _ in worlds:
            await bench.partition.close()
    return costs


def _real_members(sizes: tuple[int, int], rounds: int, commands: int) -> tuple[list[float], list[float]]:
    """As `_pair`, of groups with so many members, through a processor and a broker."""
    costs: tuple[list[float], list[float]] = ([], [])
    with lab(partitions=1) as service:
        worker = service.worker()
        worker.wait_open(1)
        worlds = [[f"group-{size}-{n}" for n in range(8)] for size in sizes]
        for size, names in zip(sizes, worlds, strict=True):
            service.write([(0, record([create(name, size)])) for name in names])
        service.wait_written(1 + sum(map(len, worlds)))
        for n in range(rounds + 1):
            for names, found in zip(worlds, costs, strict=True):
                _, cost = measure(service, worker, [(0, value) for value in _messages(names, commands)], SIZE)
                if n:
                    found.append(cost)
    return costs


def _real_groups(sizes: tuple[int, int], rounds: int, commands: int) -> tuple[list[float], list[float]]:
    """As `_pair`, of so many groups, each through a processor and a broker of its own, one idle meanwhile."""
    costs: tuple[list[float], list[float]] = ([], [])
    with ExitStack() as closing:
        worlds = []
        for size in sizes:
            service = closing.enter_context(lab(partitions=SHARE))
            work, worker = Load(service, size, members=3), service.worker()
            worker.wait_open(SHARE)
            service.write(work.groups())
            service.wait_written(SHARE + size)
            measure(service, worker, work.messages(3 * sizes[1], SIZE), SIZE)  # each group has had some
            worlds.append((service, worker, work))
        for _ in range(rounds):
            for (service, worker, work), found in zip(worlds, costs, strict=True):
                found.append(measure(service, worker, work.messages(2 * commands, SIZE), SIZE)[1])
    return costs


REAL = {"members a group": _real_members, "groups": _real_groups}


def _figures(
    what: str, sizes: tuple[int, int], costs: tuple[list[float], list[float]], bound: float | None
) -> Iterator[Figure]:
    for size, found in zip(sizes, costs, strict=True):
        say(f"{size:,} {what}: {', '.join(f'{cost * 1e6:.0f}' for cost in found)} µs")
        yield Figure(f"{size:,} {what}", "µs a message", [cost * 1e6 for cost in found])
    yield Figure(f"{what}: {sizes[1]:,} against {sizes[0]:,}", "ratio", ratios(costs[1], costs[0]), at_most=bound)


def _messages(names: Sequence[str], count: int) -> list[bytes]:
    """Records of `SIZE` messages to groups drawn anew for each."""
    chance = random.Random(1)
    return [
        record([post(chance.choice(names), next(numbers), run="flat") for _ in range(SIZE)])
        for _ in range(count // SIZE)
    ]


def _created(group: str, count: int) -> Event:
    """The event of a group with so many members."""
    data = GroupCreated(
        name=group,
        topic="",
        join="invite",
        history="all",
        members=(NewMember(OWNER, "owner"), *(NewMember(f"user-{n}", "member") for n in range(1, count))),
    )
    return _event(group, 1, data, NOW_MS)


def _posted(seq: int, last: int) -> Event:
    """A message of a history that ends at `last`, now."""
    return _event("group", seq, MessagePosted(text=TEXT), NOW_MS - (last - seq) * 1000, client_msg_id=f"h{seq}")


def _event(
    group: str, seq: int, data: GroupCreated | MessagePosted, at_ms: int, client_msg_id: str | None = None
) -> Event:
    return Event(
        group=group,
        seq=seq,
        id=f"commands.0.{seq}.0",
        kind=data.kind,
        by=OWNER,
        at=instants.to_text(at_ms),
        client_msg_id=client_msg_id,
        data=data,
    )


if __name__ == "__main__":
    main()
