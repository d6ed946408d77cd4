"""`python -m benchmarks.latency`: from a command's append to its event in a reader's hand, at steady rates.

One processor, one command a record over all partitions; rounds of each rate take turns.
"""

import click

from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import lab
from benchmarks.traffic import Traffic, percentile

QUICK = "--rounds 1 --seconds 1 --rates 50 --partitions 1"
RATES = (100, 1000)
_PARTS = {"p50": 0.5, "p99": 0.99}


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Length of a round.")
@click.option("--rates", default=",".join(map(str, RATES)), show_default=True, help="Commands a second.")
@click.option("--partitions", default=16, show_default=True)
def main(rounds: int, seconds: float, rates: str, partitions: int) -> None:
    """The delay between a command and its event."""
    load = load_now()
    each = [int(rate) for rate in rates.split(",")]
    found: dict[tuple[int, str], list[float]] = {(rate, part): [] for rate in each for part in _PARTS}
    with lab(partitions) as service:
        service.worker().wait_open(partitions)
        for n in range(rounds):
            for rate in each:
                with Traffic(service.bootstrap, partitions, rate) as traffic:
                    traffic.run(1.0)  # warm: the groups are made, the reader has found its place
                    answered = traffic.run(seconds)
                for part, share in _PARTS.items():
                    found[rate, part].append(percentile(answered, share) * 1000)
                say(f"round {n + 1}: {rate}/s: " + ", ".join(f"{p} {found[rate, p][-1]:.1f} ms" for p in _PARTS))
    tell(
        "Command to event",
        load,
        [Figure(f"{part} at {rate}/s", "ms", values) for (rate, part), values in found.items()],
    )


if __name__ == "__main__":
    main()
