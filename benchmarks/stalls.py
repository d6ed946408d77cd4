"""`python -m benchmarks.stalls`: the longest gap between a command and its event while workers come, go and die.

A whole service with a supervisor; a driver sends a steady rate in every partition and never waits for an answer. In
each round a second processor joins, the first is killed with SIGKILL and started again by the supervisor, and the
second is stopped with SIGTERM while the first lives. What an undisturbed stretch shows is the noise of the machine. The
limit is the same of bare librdkafka (`limits.pipe`), which starts sooner and opens nothing.
"""

import itertools
import signal
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from app.kafka.topics import COMMANDS, EVENTS
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.limits import parts, topics
from benchmarks.traffic import Traffic, longest
from tests.support.stack import Stack

QUICK = "--rounds 1 --seconds 1 --rate 20 --partitions 2"
TARGETS_S = {"undisturbed": None, "a worker joins": 1.5, "SIGKILL, with the supervisor": 3.0, "SIGTERM": 2.0}
_FIRST, _SECOND = "processor-0", "processor-1"
_OURS, _BARE = "the service", "bare librdkafka"
_WARM_S = 3.0
_BARE_S = 5.0  # nothing of it takes longer


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=7.0, show_default=True, help="How long each disturbance is watched.")
@click.option("--rate", default=100.0, show_default=True, help="Commands a second and partition.")
@click.option("--partitions", default=4, show_default=True)
def main(rounds: int, seconds: float, rate: float, partitions: int) -> None:
    """The longest stall that clients see, by what caused it."""
    load = load_now()
    found: dict[str, dict[str, list[float]]] = {way: {what: [] for what in TARGETS_S} for way in (_OURS, _BARE)}
    with tempfile.TemporaryDirectory(prefix="auerbach-bench-") as folder, ExitStack() as ending:
        service = Stack(Path(folder), processors=1, gateways=1, partitions=partitions)
        ending.callback(service.stop)
        service.start()
        topics.make(service.bootstrap, partitions)
        bare = _Bare(_Place(Path(folder), service.bootstrap))
        ending.callback(bare.stop)
        ways: dict[str, tuple[Callable[[str], None], str, str]] = {
            _OURS: (lambda what: _disturb(service, what), COMMANDS, EVENTS),
            _BARE: (bare.disturb, topics.PIPE, topics.EVENTS),
        }
        for n, (way, (disturb, commands, events)) in itertools.product(range(rounds), ways.items()):
            with Traffic(service.bootstrap, partitions, rate * partitions, commands=commands, events=events) as traffic:
                traffic.run(_WARM_S)
                for what, values in found[way].items():
                    disturb(what)
                    values.append(longest(traffic.run(seconds if way == _OURS else min(seconds, _BARE_S))))
                    say(f"round {n + 1}: {way}: {what}: {values[-1]:.2f} s")
    limits = {what: Figure(f"{_BARE}: {what}", "s", values) for what, values in found[_BARE].items()}
    ours = [
        Figure(what, "s", values, at_most=TARGETS_S[what], limit=limits[what]) for what, values in found[_OURS].items()
    ]
    tell(f"Stalls at {rate:g}/s a partition, {partitions} partitions", load, [*limits.values(), *ours])


def _disturb(service: Stack, what: str) -> None:
    """Begin what a worker does; nothing where the stretch is undisturbed."""
    match what:
        case "a worker joins":
            service.start_one(_SECOND)
        case "SIGKILL, with the supervisor":
            service.kill(_FIRST)
        case "SIGTERM":
            service.kill(_SECOND, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path
    bootstrap: str


class _Bare:
    """The limit: bare librdkafka as two members of a group, of which we are the supervisor."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._first = parts.pipe(place, "pipe-0")
        self._first.wait_assigned()
        self._second: parts.InPlace | None = None

    def disturb(self, what: str) -> None:
        """As `_disturb`."""
        match what:
            case "a worker joins":
                self._second = parts.pipe(self._place, "pipe-1", leaves=True)
            case "SIGKILL, with the supervisor":
                self._first.process.kill()
                self._first.process.wait()
                self._first = parts.pipe(self._place, "pipe-0")
            case "SIGTERM":
                assert self._second is not None
                self._second.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop both."""
        for part in (self._first, self._second):
            if part is not None:
                part.stop()


if __name__ == "__main__":
    main()
