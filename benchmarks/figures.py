"""Figures as they are told: several interleaved rounds as median, least and greatest, and on what they were taken."""

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import msgspec

_ROOT = Path(__file__).parents[1]
BUSY = 0.5  # a machine with more load than this a core, before we begin, is busy with something else
# Names a file to which `tell` also appends what it tells, a JSON object a line (`Told`): the suite reads it.
TOLD_FILE = "BENCH_FIGURES"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured, a value a round. `at_most` or `at_least` is the target, held against the median.

    `limit` is the figure, of the same rounds, that the machine allows at best: what a bare loop takes for the same.
    """

    name: str
    unit: str
    values: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    limit: "Figure | None" = None

    @property
    def median(self) -> float:
        """What to quote."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return self.median >= self.at_least if self.at_least is not None else None

    @property
    def target(self) -> str:
        """The target and whether it is met, in words."""
        if self.met is None:
            return ""
        bound = f"≤ {number(self.at_most)}" if self.at_most is not None else f"≥ {number(self.at_least or 0)}"
        return f"{bound} {'met' if self.met else 'MISSED'}"

    @property
    def of_limit(self) -> float | None:
        """How many times the limit it is, in the median of the rounds: less is better for a cost, more for a rate."""
        return None if self.limit is None else median(ratios(self.values, self.limit.values))


@dataclass(frozen=True, slots=True)
class Told:
    """One table: its figures, and what they were taken on. `taken` is UTC, `load` the machine's before it began."""

    title: str
    taken: datetime
    machine: str
    python: str
    commit: str
    load: float
    busy: bool
    figures: list[Figure]


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
    told = _told(title, load, figures)
    click.echo(f"### {title}\n\n{_conditions(told)}\n")
    for line in table(figures):
        click.echo(line)
    if (file := os.environ.get(TOLD_FILE)) is not None:
        with Path(file).open("ab") as lines:
            lines.write(msgspec.json.encode(told) + b"\n")


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """The lines of a table; the limit has columns where there is one."""
    limited = any(each.limit is not None for each in figures)
    more = (" limit | times the limit |", "---|---|") if limited else ("", "")
    yield f"| figure | unit | min | median | max | rounds | target |{more[0]}"
    yield f"|---|---|---|---|---|---|---|{more[1]}"
    for each in figures:
        low, middle, high = (number(v) for v in (min(each.values), each.median, max(each.values)))
        row = f"| {each.name} | {each.unit} | {low} | {middle} | {high} | {len(each.values)} | {each.target} |"
        if limited:
            of_limit = each.of_limit
            row += f" {number(each.limit.median)} |" if each.limit is not None else "  |"
            row += f" {number(of_limit)} |" if of_limit is not None else "  |"
        yield row


def load_now() -> float:
    """Runnable processes, on average over the last minute."""
    return os.getloadavg()[0]


def _told(title: str, load: float, figures: Sequence[Figure]) -> Told:
    cores = os.cpu_count() or 1
    return Told(
        title,
        taken=datetime.now(UTC).replace(microsecond=0),
        machine=f"{cores} cores ({_processor()})",
        python=platform.python_version(),
        commit=_commit(),
        load=load,
        busy=load > BUSY * cores,
        figures=list(figures),
    )


def _conditions(told: Told) -> str:
    """The machine, its load before the benchmark, the day and the commit."""
    busy = ", a busy machine" if told.busy else ""
    return (
        f"{told.machine}, load {told.load:.1f} before{busy}; Python {told.python}; {told.taken:%Y-%m-%d}; "
        f"commit {told.commit}"
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
