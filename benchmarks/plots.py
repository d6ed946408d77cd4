"""Plots of the figures that were kept: SVG, one a benchmark over its runs, and of its last run whatever has a shape.

Points are medians, bars reach from the least to the greatest round. Runs on a busy machine are drawn hollow.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.results import Row

RUNS = 30  # the newest runs of a benchmark: more cannot be read
_BY_SIZE = re.compile(r"(.*?),? ?at ([\d,]+) a record$")
_PERCENTILE = re.compile(r"(?:(.*?)[:,]? )?p([\d.]+)(?: (.*))?$")
_WIDTH, _HEIGHT = 9.0, 3.6  # inches

Run = list[Row]


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw all that there is to draw into `folder`; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for benchmark, of_it in _by(rows, lambda row: row.benchmark):
        runs = [run for _, run in _by(of_it, lambda row: row.taken)][-RUNS:]
        for name, canvas in _plots(benchmark, runs):
            path = folder / f"{benchmark}-{name}.svg"
            # No instant in the file: the same figures give the same bytes.
            canvas.savefig(path, metadata={"Date": None})
            made.append(path)
    return made


def _plots(benchmark: str, runs: Sequence[Run]) -> Iterator[tuple[str, Canvas]]:
    last = runs[-1]
    yield "runs", _over_runs(benchmark, runs)
    if any(_BY_SIZE.match(row.figure) for row in last):
        yield "by-size", _by_number(benchmark, last, _BY_SIZE, "commands a record", log_scale=True)
    if any(_PERCENTILE.match(row.figure) for row in last):
        yield "percentiles", _percentiles(benchmark, last)
    if any(row.limit for row in last):
        yield "limits", _against_limits(benchmark, last)


def _over_runs(benchmark: str, runs: Sequence[Run]) -> Canvas:
    """Each figure over the runs, a panel a unit."""
    units = list(dict.fromkeys(row.unit for run in runs for row in run))
    canvas, panels = _canvas(benchmark, len(units))
    for unit, axes in zip(units, panels, strict=True):
        figures = dict.fromkeys(row.figure for run in runs for row in run if row.unit == unit)
        for n, figure in enumerate(figures):
            seen = [(at, found) for at, run in enumerate(runs) if (found := _values(run, figure, unit))]
            colour = f"C{n % 10}"
            _points(axes, [at for at, _ in seen], [values for _, values in seen], figure, colour)
            quiet = [(at, median(values)) for at, values in seen if not runs[at][0].busy]
            axes.plot(
                [at for at, _ in quiet], [middle for _, middle in quiet], "o", color=colour, markersize=4, zorder=3
            )
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(len(runs)), [_name_of(run) for run in runs], rotation=30, ha="right", fontsize=6)
        _legend(axes)
    return canvas


def _by_number(benchmark: str, run: Run, pattern: re.Pattern[str], label: str, *, log_scale: bool) -> Canvas:
    """The figures of the last run over the number in their names, a panel a unit."""
    named = [(found, row) for row in run if (found := pattern.match(row.figure))]
    units = list(dict.fromkeys(row.unit for _, row in named))
    canvas, panels = _canvas(f"{benchmark}, {_name_of(run)}", len(units))
    for unit, axes in zip(units, panels, strict=True):
        lines: dict[str, dict[int, list[float]]] = {}
        for found, row in named:
            if row.unit == unit:
                points = lines.setdefault(found[1] or "the processor", {})
                points.setdefault(int(found[2].replace(",", "")), []).append(row.value)
        for n, (name, points) in enumerate(lines.items()):
            at = sorted(points)
            _points(axes, at, [points[x] for x in at], name, f"C{n % 10}", filled=True)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        numbers = sorted({n for points in lines.values() for n in points})
        if log_scale:
            axes.set_xscale("log", base=2)
            axes.set_xticks(numbers, [f"{n:,}" for n in numbers])
        _legend(axes)
    return canvas


def _percentiles(benchmark: str, run: Run) -> Canvas:
    """The latencies of the last run by percentile, a line for each rate, way or limit."""
    named = [(found, row) for row in run if (found := _PERCENTILE.match(row.figure))]
    units = list(dict.fromkeys(row.unit for _, row in named))
    canvas, panels = _canvas(f"{benchmark}, {_name_of(run)}", len(units))
    for unit, axes in zip(units, panels, strict=True):
        ours = [(found, row) for found, row in named if row.unit == unit]
        parts = sorted({float(found[2]) for found, _ in ours})
        lines = dict.fromkeys(_line(found) for found, _ in ours)
        for n, line in enumerate(lines):
            points = {
                part: [row.value for found, row in ours if _line(found) == line and float(found[2]) == part]
                for part in parts
            }
            at = [x for x, part in enumerate(parts) if points[part]]
            _points(axes, at, [points[parts[x]] for x in at], line or "from end to end", f"C{n % 10}", filled=True)
        axes.set_xticks(range(len(parts)), [f"p{part:g}" for part in parts])
        axes.set_ylabel(unit)
        axes.set_yscale("log")
        _legend(axes)
    return canvas


def _against_limits(benchmark: str, run: Run) -> Canvas:
    """The figures of the last run that have a limit, as multiples of it."""
    named = dict.fromkeys((row.figure, row.unit, row.limit) for row in run if row.limit)
    canvas, (axes,) = _canvas(f"{benchmark}, {_name_of(run)}", 1)
    names, parts = [], []
    for figure, unit, limit in named:
        over, under = _values(run, figure, unit), _values(run, limit, unit)
        if over and len(over) == len(under):
            names.append(figure)
            parts.append([a / b for a, b in zip(over, under, strict=True)])
    places = range(len(names))
    middles = [median(part) for part in parts]
    axes.barh(places, middles, xerr=_reach(parts), capsize=2)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("times the limit of the same run")
    return canvas


def _canvas(title: str, panels: int) -> tuple[Canvas, list[Axes]]:
    canvas = Canvas(figsize=(_WIDTH, _HEIGHT * panels), layout="constrained")
    canvas.suptitle(title, fontsize=9)
    return canvas, [canvas.add_subplot(panels, 1, n + 1) for n in range(panels)]


def _points(
    axes: Axes, at: Sequence[float], values: Sequence[Sequence[float]], name: str, colour: str, *, filled: bool = False
) -> None:
    axes.errorbar(
        at,
        [median(each) for each in values],
        yerr=_reach(values),
        fmt="o-",
        color=colour,
        mfc=colour if filled else "white",
        markersize=4,
        linewidth=1,
        capsize=2,
        label=name,
    )


def _reach(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """How far the least and the greatest are from the median."""
    return [[median(each) - min(each) for each in values], [max(each) - median(each) for each in values]]


def _legend(axes: Axes) -> None:
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _line(found: re.Match[str]) -> str:
    return " ".join(part for part in (found[1], found[3]) if part)


def _name_of(run: Run) -> str:
    return f"{run[0].taken:%m-%d %H:%M} {run[0].commit.partition(' ')[0]}"


def _values(run: Run, figure: str, unit: str) -> list[float]:
    return [row.value for row in run if (row.figure, row.unit) == (figure, unit)]


def _by(rows: Iterable[Row], key: Callable[[Row], Any]) -> Iterator[tuple[Any, list[Row]]]:
    """Rows with the same key, in the order of the keys and, within one, as they are."""
    return ((name, list(of_it)) for name, of_it in groupby(sorted(rows, key=key), key=key))
