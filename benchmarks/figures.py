"""Figures as they are told: several interleaved rounds as median, least and greatest, and on what they were taken."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click

_ROOT = Path(__file__).parents[1]
BUSY = 0.5  # a machine with more load than this a core, before we begin, is busy with something else


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured, a value a round. `at_most` or `at_least` is the target, held against the median."""

    name: str
    unit: str
    values: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """What to quote."""
        return median(self.values)

    @property
    def target(self) -> str:
        """The target and whether it is met, in words."""
        if self.at_most is not None:
            return f"≤ {number(self.at_most)} {'met' if self.median <= self.at_most else 'MISSED'}"
        if self.at_least is not None:
            return f"≥ {number(self.at_least)} {'met' if self.median >= self.at_least else 'MISSED'}"
        return ""


def number(value: float) -> str:
    """With three digits that count.

    >>> [number(v) for v in (12_345.6, 45.61, 1.2345, 0.0123)]
    ['12,346', '45.6', '1.23', '0.012']
    """
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The ratio of each round's two values: a comparison that holds when the machine's speed drifts."""
    return [a / b for a, b in zip(over, under, strict=True)]


def say(text: str) -> None:
    """Something on the way, on standard error: the table alone is the output."""
    click.echo(text, err=True)


def tell(title: str, load: float, figures: Sequence[Figure]) -> None:
    """Print the table, in Markdown. `load` is the machine's before the benchmark began."""
    click.echo(f"### {title}\n\n{conditions(load)}\n")
    click.echo("| figure | unit | min | median | max | rounds | target |\n|---|---|---|---|---|---|---|")
    for each in figures:
        low, middle, high = (number(v) for v in (min(each.values), each.median, max(each.values)))
        click.echo(f"| {each.name} | {each.unit} | {low} | {middle} | {high} | {len(each.values)} | {each.target} |")


def load_now() -> float:
    """Runnable processes, on average over the last minute."""
    return os.getloadavg()[0]


def conditions(load: float) -> str:
    """The machine, its load before the benchmark, the day and the commit."""
    cores = os.cpu_count() or 1
    busy = ", a busy machine" if load > BUSY * cores else ""
    return (
        f"{cores} cores ({_processor()}), load {load:.1f} before{busy}; Python {platform.python_version()}; "
        f"{datetime.now(UTC):%Y-%m-%d}; commit {_commit()}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        ran = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=20, check=False)
        return ran.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if git("status", "--short") else "")
