"""`python -m benchmarks.stalls`: the longest gap between a command and its event while workers come, go and die.

A whole service with a supervisor; a driver sends a steady rate in every partition and never waits for an answer. In
each round a second processor joins, the first is killed with SIGKILL and started again by the supervisor, and the
second is stopped with SIGTERM while the first lives. What an undisturbed stretch shows is the noise of the machine.
"""

import signal
import tempfile
from pathlib import Path

import click

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.traffic import Traffic, longest
from tests.support.stack import Stack

QUICK = "--rounds 1 --seconds 1 --rate 20 --partitions 2"
TARGETS_S = {"undisturbed": None, "a worker joins": 1.5, "SIGKILL, with the supervisor": 3.0, "SIGTERM": 2.0}
_FIRST, _SECOND = "processor-0", "processor-1"


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=7.0, show_default=True, help="How long each disturbance is watched.")
@click.option("--rate", default=100.0, show_default=True, help="Commands a second and partition.")
@click.option("--partitions", default=4, show_default=True)
def main(rounds: int, seconds: float, rate: float, partitions: int) -> None:
    """The longest stall that clients see, by what caused it."""
    load = load_now()
    found: dict[str, list[float]] = {what: [] for what in TARGETS_S}
    with tempfile.TemporaryDirectory(prefix="auerbach-bench-") as folder:
        service = Stack(Path(folder), processors=1, gateways=1, partitions=partitions)
        try:
            service.start()
            with Traffic(service.bootstrap, partitions, rate * partitions) as traffic:
                traffic.run(seconds)  # warm
                for n in range(rounds):
                    for what, values in found.items():
                        _disturb(service, what)
                        values.append(longest(traffic.run(seconds)))
                        say(f"round {n + 1}: {what}: {values[-1]:.2f} s")
        finally:
            service.stop()
    tell(
        f"Stalls at {rate:g}/s a partition, {partitions} partitions",
        load,
        [Figure(what, "s", values, at_most=TARGETS_S[what]) for what, values in found.items()],
    )


def _disturb(service: Stack, what: str) -> None:
    """Begin what a worker does; nothing where the stretch is undisturbed."""
    match what:
        case "a worker joins":
            service.start_one(_SECOND)
        case "SIGKILL, with the supervisor":
            service.kill(_FIRST)
        case "SIGTERM":
            service.kill(_SECOND, signal.SIGTERM)


if __name__ == "__main__":
    main()
