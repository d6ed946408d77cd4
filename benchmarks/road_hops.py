"""`python -m benchmarks.road_hops`: where a message is on the whole road, and which threads take the CPU time.

Processors and gateways run under `benchmarks.road_traced`. A hop is told as the time since the one before; the broker's
and the processors' timestamps in the log have whole milliseconds. Threads are told first, in a run without a trace.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import Gateway, Lab, Worker, lab
from benchmarks.road_cost import pids_of, threads_s
from benchmarks.road_loop import NONE
from benchmarks.road_members import Members, Outcome, Shape, members, percentile
from benchmarks.road_traced import Instant

DUE, SENT, FIRST, LAST, ACKED = "due", "sent", "at the first member", "at the last member", "acknowledged"
HOPS = (
    SENT,
    "request read",
    "command produced",
    "command's timestamp",
    "command read",
    "event decided",
    "event's timestamp",
    "event delivered",
    "event read",
    "event on the loop",
    "event written",
    FIRST,
    LAST,
)
_SINCE = {"event delivered": "event decided", "event read": "event decided"}  # those two race
_WARM_S = 2.0
_LEAST_US = 5.0  # a thread that takes less of a message is told with the others


@dataclass
class _Service:
    """What runs, and where the traces will be."""

    doors: list[Gateway]
    workers: list[Worker]
    pids: dict[str, tuple[int, ...]]
    traces: list[Path] = field(default_factory=list)


@click.command()
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--groups", default=100, show_default=True)
@click.option("--members", "size", default=10, show_default=True)
@click.option("--rate", default=200.0, show_default=True, help="Messages a second, over all groups.")
@click.option("--processors", default=2, show_default=True)
@click.option("--gateways", default=2, show_default=True)
@click.option("--partitions", default=16, show_default=True)
def main(seconds: float, groups: int, size: int, rate: float, processors: int, gateways: int, partitions: int) -> None:
    """Where a message is, hop by hop, and what each thread takes for it."""
    load = load_now()
    shape = Shape(groups, size, rate)
    title = f"{shape.name} at {rate:g} messages/s; {processors} processors, {gateways} gateways"
    with lab(partitions) as service:
        running = _start(service, processors, gateways, traced=False)
        with members(service, [door.port for door in running.doors], [shape]) as road:
            threads = list(_threads(road, running, shape, seconds))
    tell(f"Threads: {title}", load, threads)
    with lab(partitions) as service:
        running = _start(service, processors, gateways, traced=True)
        with members(service, [door.port for door in running.doors], [shape]) as road:
            road.run(shape, rate, _WARM_S)
            clock_ns = time.time_ns() - time.monotonic_ns()
            outcome = road.run(shape, rate, seconds)
        for part in (*running.doors, *running.workers):
            part.stop()
        instants = _clients(outcome, clock_ns)
        for each in _traced(running.traces):
            if each.client_msg_id in instants:
                # The first of several: gateways read it each, and one of them is the last to write.
                at = instants[each.client_msg_id].setdefault(each.hop, each.at_ns)
                if each.hop == "event written":
                    instants[each.client_msg_id][each.hop] = max(at, each.at_ns)
    tell(f"Hops: {title}", load, list(_hops(instants.values())))


def _start(service: Lab, processors: int, gateways: int, *, traced: bool) -> _Service:
    traces: list[Path] = []

    def program(name: str, command: str) -> list[str]:
        if not traced:
            return ["-m", "app", command]
        traces.append(service.folder / f"{name}.trace")
        return ["-m", "benchmarks.road_traced", str(traces[-1]), command]

    workers = []
    for n in range(processors):
        name = f"processor-{n}"
        workers.append(service.worker(name, program(name, "processor")))
        workers[-1].wait_open(service.partitions // (n + 1))
    doors = [service.gateway(f"gateway-{n}", program(f"gateway-{n}", "gateway")) for n in range(gateways)]
    for door in doors:
        door.wait_ready()
    return _Service(doors, workers, pids_of(service, workers, doors), traces)


def _threads(road: Members, running: _Service, shape: Shape, seconds: float) -> Iterator[Figure]:
    """µs of CPU a message of each thread, and ms a second of it with nothing to do."""
    road.run(shape, shape.rate, _WARM_S)
    before = _all_threads(running)
    road.run(shape, shape.rate, seconds)
    loaded = _all_threads(running)
    road.rest(seconds)
    idle = _all_threads(running)
    messages = shape.rate * seconds
    for what in running.pids:
        total = sum(loaded[what].values()) - sum(before[what].values())
        at_rest = sum(idle[what].values()) - sum(loaded[what].values())
        yield Figure(f"{what}: all", "µs a message", [total * 1e6 / messages])
        yield Figure(f"{what}: all", "µs a delivery", [total * 1e6 / messages / shape.members])
        yield Figure(f"{what}: all, idle", "ms a second", [1000 * at_rest / seconds])
        for name, spent in sorted(loaded[what].items(), key=lambda each: -each[1]):
            took_us = (spent - before[what].get(name, 0.0)) * 1e6 / messages
            if took_us >= _LEAST_US:
                rest_ms = 1000 * (idle[what].get(name, 0.0) - spent) / seconds
                yield Figure(f"{what}: {name}", "µs a message", [took_us])
                yield Figure(f"{what}: {name}, idle", "ms a second", [rest_ms])


def _all_threads(running: _Service) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for what, pids in running.pids.items():
        found[what] = {}
        for pid in pids:
            for name, spent in threads_s(pid).items():
                found[what][name] = found[what].get(name, 0.0) + spent
    return found


def _clients(outcome: Outcome, clock_ns: int) -> dict[str, dict[str, int]]:
    """What the members noted of each message."""
    noted, began = outcome.noted, outcome.noted.began_ns + clock_ns
    instants = {}
    for n, due in enumerate(noted.due):
        arrived = noted.arrived[n * noted.copies : (n + 1) * noted.copies]
        passed = {DUE: due, SENT: noted.sent[n], ACKED: noted.acked[n], FIRST: arrived[0], LAST: arrived[-1]}
        number = f"{outcome.first + n:012}"
        instants[number] = {hop: began + 1000 * at for hop, at in passed.items() if at != NONE}
    return instants


def _traced(files: Iterable[Path]) -> Iterator[Instant]:
    decoder = msgspec.json.Decoder(Instant)
    for file in files:
        noted = [decoder.decode(line) for line in file.read_bytes().splitlines()]
        say(f"{file.name}: {len(noted):,} instants")
        yield from noted


def _hops(instants: Iterable[dict[str, int]]) -> Iterator[Figure]:
    """For each hop the p50, p99 of the ms since the one before, over all messages that have both."""
    all_of_them = list(instants)
    before = DUE
    for hop in HOPS:
        since = _SINCE.get(hop, before)
        took = [(each[hop] - each[since]) / 1e6 for each in all_of_them if hop in each and since in each]
        if took:
            yield Figure(f"{since} → {hop}, p50", "ms", [percentile(took, 0.5)])
            yield Figure(f"{since} → {hop}, p99", "ms", [percentile(took, 0.99)])
        before = hop
    for end in (LAST, ACKED):
        took = [(each[end] - each[DUE]) / 1e6 for each in all_of_them if end in each]
        yield Figure(f"{DUE} → {end}, p50", "ms", [percentile(took, 0.5)])
        yield Figure(f"{DUE} → {end}, p99", "ms", [percentile(took, 0.99)])


if __name__ == "__main__":
    main()
