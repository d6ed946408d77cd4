"""`python -m benchmarks.latency`: from a command's append to its event in a reader's hand, at steady rates.

One processor, one command a record over all partitions; rounds of each rate take turns. The limit is bare librdkafka in
the processor's place (`limits.pipe`), on topics of its own with the same settings.
"""

import itertools

import click

from app.kafka.topics import COMMANDS, EVENTS
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import lab
from benchmarks.limits import parts, topics
from benchmarks.traffic import Traffic, percentile

QUICK = "--rounds 1 --seconds 1 --rates 50 --partitions 1"
RATES = (100, 1000)
_PARTS = {"p50": 0.5, "p99": 0.99}
_OURS, _BARE = "", "bare librdkafka"
_WAYS = {_OURS: (COMMANDS, EVENTS), _BARE: (topics.PIPE, topics.EVENTS)}


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Length of a round.")
@click.option("--rates", default=",".join(map(str, RATES)), show_default=True, help="Commands a second.")
@click.option("--partitions", default=16, show_default=True)
def main(rounds: int, seconds: float, rates: str, partitions: int) -> None:
    """The delay between a command and its event."""
    load = load_now()
    each = [int(rate) for rate in rates.split(",")]
    found: dict[tuple[str, int, str], list[float]] = {
        (way, rate, part): [] for way in (_OURS, _BARE) for rate in each for part in _PARTS
    }
    with lab(partitions) as service:
        topics.make(service.bootstrap, partitions)
        service.worker().wait_open(partitions)
        service.owns(parts.pipe(service)).wait_assigned()
        for n, rate, (way, (commands, events)) in itertools.product(range(rounds), each, _WAYS.items()):
            with Traffic(service.bootstrap, partitions, rate, commands=commands, events=events) as traffic:
                traffic.run(1.0)  # warm: the groups are made, the reader has found its place
                answered = traffic.run(seconds)
            for part, share in _PARTS.items():
                found[way, rate, part].append(percentile(answered, share) * 1000)
            told = ", ".join(f"{part} {found[way, rate, part][-1]:.1f} ms" for part in _PARTS)
            say(f"round {n + 1}: {way or 'the processor'}: {rate}/s: {told}")
    bare = {key[1:]: Figure(f"{_BARE}: {key[2]} at {key[1]}/s", "ms", found[key]) for key in found if key[0] == _BARE}
    ours = [
        Figure(f"{part} at {rate}/s", "ms", values, limit=bare[rate, part])
        for (way, rate, part), values in found.items()
        if way == _OURS
    ]
    tell("Command to event", load, [*ours, *bare.values()])


if __name__ == "__main__":
    main()
