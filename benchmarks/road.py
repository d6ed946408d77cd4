"""`python -m benchmarks.road`: the whole road, from the instant a message is due to each member who has it.

Broker, processors, gateways and real sockets on this machine. Messages leave when a schedule says so and not when
something has been answered, and each latency counts from when the message was due: what the service holds up is seen
by every message that waits for it. CPU time is summed over all processes of the service, the broker included, and told
for each; the clients' stands apart.
"""

import resource
from collections.abc import Iterable, Iterator
from statistics import median

import click

from benchmarks.figures import Figure, load_now, ratios, say, tell
from benchmarks.lab import Lab, lab
from benchmarks.limits import topics
from benchmarks.road_cost import DRIVER, Processes, broker_pid, pids_of
from benchmarks.road_limits import bare_kafka, bare_send_s
from benchmarks.road_members import Members, Outcome, Shape, members, percentile
from benchmarks.road_search import highest

QUICK = "--rounds 1 --seconds 1 --shrink 20 --processors 1 --gateways 1 --partitions 1 --no-search"
SHAPES = (Shape(100, 10, 200), Shape(10, 100, 100), Shape(1, 1_000, 20))
SEARCHED = (SHAPES[0], SHAPES[2])
AT_MOST_MS = 250.0
# A step's backlog grows if the messages of its last quarter took so much longer than those of its first.
GROWTH_MS = 50.0
_PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
_WARM_S = 2.0
_PATIENCE_S = 3.0
_SETTLE_S = 1.0
_BARE_FRAMES = 50_000

Rows = dict[tuple[str, str], list[float]]


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of a round of each shape.")
@click.option("--processors", default=2, show_default=True)
@click.option("--gateways", default=2, show_default=True)
@click.option("--partitions", default=16, show_default=True)
@click.option("--shrink", default=1, show_default=True, help="Divide groups, members and rates of 100 or more by this.")
@click.option("--search/--no-search", default=True, show_default=True, help="Look for the highest rates.")
@click.option("--step", default=5.0, show_default=True, help="Seconds of a step of the search.")
def main(
    rounds: int, seconds: float, processors: int, gateways: int, partitions: int, shrink: int, search: bool, step: float
) -> None:
    """From when a message is due to each member, through the whole service."""
    load = load_now()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    shapes = {shape: _shrunk(shape, shrink) for shape in SHAPES}
    rows: dict[Shape, Rows] = {shape: {} for shape in shapes.values()}
    idle: Rows = {}
    limits: Rows = {}
    found: list[Figure] = []
    with lab(partitions) as service:
        topics.make(service.bootstrap, partitions)
        ports, processes = _start(service, processors, gateways)
        with members(service, ports, list(rows)) as road:
            for shape in rows:
                road.run(shape, shape.rate, _WARM_S)
            for n in range(rounds):
                _add(idle, _idle(road, processes, seconds / 2))
                for shape, each in rows.items():
                    _add(each, _measure(road, processes, shape, seconds))
                    say(f"round {n + 1}: {shape.name} at {shape.rate:g}/s: {_in_brief(each)}")
                _add(limits, _limits(service, rows, seconds))
            found += [_highest(road, shapes[shape], step) for shape in SEARCHED if search]
    where = f"{processors} processors, {gateways} gateways, {partitions} partitions"
    for shape, each in rows.items():
        tell(f"The whole road: {shape.name} at {shape.rate:g} messages/s; {where}", load, list(_figures(each)))
    tell("The whole road: limits, and how far it is from them", load, list(_against(limits, rows)))
    tell("The whole road: with nothing to do", load, list(_figures(idle)))
    if found:
        tell(f"The whole road: the highest rate with p99 < {AT_MOST_MS:.0f} ms; {where}", load, found)


def _start(service: Lab, processors: int, gateways: int) -> tuple[list[int], Processes]:
    """The gateways' ports, and all processes."""
    workers = []
    for n in range(processors):
        workers.append(service.worker(f"processor-{n}"))
        workers[-1].wait_open(service.partitions // (n + 1))
    doors = [service.gateway(f"gateway-{n}") for n in range(gateways)]
    for door in doors:
        door.wait_ready()
    return [door.port for door in doors], Processes(pids_of(service, workers, doors))


def _measure(road: Members, processes: Processes, shape: Shape, seconds: float) -> Rows:
    """A round of one shape: each figure's name and unit, and its value."""
    before = processes.cpu_s()
    outcome = road.run(shape, shape.rate, seconds)
    after = processes.cpu_s()
    if not outcome.whole:
        raise click.ClickException(f"{outcome.noted.missing} are missing, {outcome.noted.refused} were refused")
    each_us = {what: (after[what] - before[what]) * 1e6 / len(outcome.noted.arrived) for what in after}
    clients_us = each_us.pop(DRIVER)
    kinds = {
        "delivery to each member": outcome.deliveries_ms(),
        "delivery to the last member": outcome.last_ms(),
        "acknowledgement": outcome.acknowledged_ms(),
        "lateness of the clients": outcome.late_ms(),
    }
    rows = {
        (f"{kind}, {part}", "ms"): [percentile(values, share)]
        for kind, values in kinds.items()
        for part, share in _PARTS.items()
    }
    rows["CPU, all processes", "µs a delivery"] = [sum(each_us.values())]
    rows |= {(f"CPU, {what}", "µs a delivery"): [cost] for what, cost in each_us.items()}
    rows["CPU, all processes", "µs a message"] = [sum(each_us.values()) * shape.members]
    rows |= {(f"CPU, {what}", "µs a message"): [cost * shape.members] for what, cost in each_us.items()}
    rows["CPU, clients (apart)", "µs a delivery"] = [clients_us]
    return rows | {(f"memory, {what}", "MiB"): [mib] for what, mib in processes.memory_mib().items()}


def _idle(road: Members, processes: Processes, seconds: float) -> Rows:
    """What everything takes while all sockets are open and nothing is sent."""
    before = processes.cpu_s()
    road.rest(seconds)
    after = processes.cpu_s()
    return {(f"CPU, {what}", "ms a second"): [1000 * (after[what] - before[what]) / seconds] for what in processes.pids}


def _limits(service: Lab, shapes: Iterable[Shape], seconds: float) -> Rows:
    """Bare Kafka at each shape's rate, and bare writes to as many sockets."""
    rows: Rows = {}
    for shape in shapes:
        bare = bare_kafka(service, broker_pid(service), shape.rate, seconds / 2)
        name = f"bare Kafka at {shape.rate:g}/s"
        rows[f"{name}, CPU of the broker", "µs a message"] = [bare.broker_s * 1e6]
        rows[f"{name}, CPU of the clients", "µs a message"] = [bare.clients_s * 1e6]
        rows |= {(f"{name}, {part}", "ms"): [percentile(bare.took_ms, _PARTS[part])] for part in ("p50", "p99")}
        sockets = shape.groups * shape.members
    rows["bare send(2)", "µs a delivery"] = [bare_send_s(sockets, _BARE_FRAMES // sockets) * 1e6]
    return rows


def _against(limits: Rows, shapes: dict[Shape, Rows]) -> Iterator[Figure]:
    """The limits, and the road's figures as multiples of them."""
    yield from _figures(limits)
    for shape, rows in shapes.items():
        of, bare = f"{shape.name}: ", f"bare Kafka at {shape.rate:g}/s, "
        us = "µs a message"
        yield Figure(
            of + "CPU of the gateways / bare send(2)",
            "ratio",
            ratios(rows["CPU, gateways", "µs a delivery"], limits["bare send(2)", "µs a delivery"]),
        )
        yield Figure(
            of + "CPU of the broker / bare Kafka",
            "ratio",
            ratios(rows["CPU, broker", us], limits[bare + "CPU of the broker", us]),
        )
        yield Figure(
            of + "delivery p50 / bare Kafka",
            "ratio",
            ratios(rows["delivery to each member, p50", "ms"], limits[bare + "p50", "ms"]),
        )


def _highest(road: Members, shape: Shape, seconds: float) -> Figure:
    """The highest rate at which the backlog does not grow and the p99 stays below `AT_MOST_MS`."""

    def once(rate: float) -> bool:
        outcome = road.run(shape, rate, seconds, _PATIENCE_S)
        borne = _is_borne(outcome)
        took = percentile(outcome.deliveries_ms() or [0.0], 0.99)
        say(f"{shape.name} at {rate:,.0f}/s: p99 {took:,.0f} ms, {'borne' if borne else 'not borne'}")
        while not borne and not road.run(shape, shape.rate, _SETTLE_S).whole:
            say(f"{shape.name}: the backlog goes on")
        return borne

    # A second try: on a shared machine a pause of a quarter of a second is no sign of a backlog.
    rate = highest(lambda rate: once(rate) or once(rate), shape.rate)
    return Figure(f"{shape.name}: highest rate", "messages/s", [rate])


def _is_borne(outcome: Outcome) -> bool:
    last = outcome.last_ms()
    quarter = max(1, len(last) // 4)
    return (
        outcome.whole
        and percentile(outcome.deliveries_ms(), 0.99) < AT_MOST_MS
        and median(last[-quarter:]) - median(last[:quarter]) < GROWTH_MS
    )


def _shrunk(shape: Shape, by: int) -> Shape:
    """The shape at a size that shows nothing but that it runs."""
    return Shape(max(1, shape.groups // by), max(2, shape.members // by), max(10.0, shape.rate / by))


def _add(rows: Rows, more: Rows) -> None:
    for name, values in more.items():
        rows.setdefault(name, []).extend(values)


def _figures(rows: Rows) -> Iterator[Figure]:
    return (Figure(name, unit, values) for (name, unit), values in rows.items())


def _in_brief(rows: Rows) -> str:
    told = (
        ("delivery to each member, p99", "ms"),
        ("acknowledgement, p99", "ms"),
        ("CPU, all processes", "µs a delivery"),
    )
    return ", ".join(f"{name} {rows[name, unit][-1]:.1f} {unit}" for name, unit in told)


if __name__ == "__main__":
    main()
