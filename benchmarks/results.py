"""What was measured, kept: a line of CSV for each figure of each round, to be compared over commits and drawn.

`.local/bench/results.csv` gets what runs on this machine, busy or not. The runs that `RESULTS.md` quotes are kept in
the repository, in `benchmarks/results.csv`; appended on purpose (`--csv`), for a file that each run changed would make
every commit one "with changes".
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Told

_ROOT = Path(__file__).parents[1]
HERE = _ROOT / ".local" / "bench" / "results.csv"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one round. `taken` is UTC and the same for a benchmark's run; `limit` names the limit's figure."""

    taken: datetime
    commit: str
    machine: str
    busy: bool
    benchmark: str
    figure: str
    unit: str
    round: int
    value: float
    limit: str = ""


COLUMNS = [field.name for field in fields(Row)]


def rows_of(benchmark: str, told: Told) -> Iterator[Row]:
    """The rows of a table."""
    for figure in told.figures:
        limit = figure.limit.name if figure.limit is not None else ""
        for n, value in enumerate(figure.values, 1):
            yield Row(
                told.taken, told.commit, told.machine, told.busy, benchmark, figure.name, figure.unit, n, value, limit
            )


def append(path: Path, rows: Iterable[Row]) -> None:
    """Add rows to the file, which is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        for row in rows:
            kept = {**asdict(row), "taken": row.taken.isoformat(), "busy": "busy" if row.busy else "quiet"}
            writer.writerow({**kept, "value": f"{row.value:.6g}"})


def read(path: Path) -> list[Row]:
    """All rows of the file, none where there is no file.

    Raises:
        ValueError: a line is not a row; the message says which.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_row(path, n, line) for n, line in enumerate(csv.DictReader(file), 2)]


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    try:
        return Row(
            taken=datetime.fromisoformat(line["taken"]),
            commit=line["commit"],
            machine=line["machine"],
            busy=line["busy"] == "busy",
            benchmark=line["benchmark"],
            figure=line["figure"],
            unit=line["unit"],
            round=int(line["round"]),
            value=float(line["value"]),
            limit=line["limit"],
        )
    except (KeyError, TypeError, ValueError) as bad:
        raise ValueError(f"{path}, line {number}: {bad!r}") from bad
