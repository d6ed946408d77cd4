"""All benchmarks as one: each in a process of its own, one after the other, so that none finds what another left.

A benchmark is a module here with a click command `main` that prints through `figures.tell`. It may name as `QUICK` the
options with which it runs in seconds, to show nothing but that it runs.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from app.cli.launch.child import follow_our_death
from benchmarks.figures import TOLD_FILE, Figure, Told, table

_ROOT = Path(__file__).parents[1]
_MINUTES_S = 60.0
# Seconds that each may take: several times what it takes on an idle machine, so that only what hangs is cut off.
DEADLINES_S = {
    "pure_path": 5 * _MINUTES_S,
    "fan_out": 5 * _MINUTES_S,
    "idle": 5 * _MINUTES_S,
    "resume": 5 * _MINUTES_S,
    "history_rpc": 5 * _MINUTES_S,
    "round_trip": 5 * _MINUTES_S,
    "latency": 5 * _MINUTES_S,
    "throughput": 10 * _MINUTES_S,
    "amqp_in": 10 * _MINUTES_S,
    "amqp_out": 10 * _MINUTES_S,
    "cold_start": 10 * _MINUTES_S,
    "stalls": 15 * _MINUTES_S,
    "flatness": 15 * _MINUTES_S,
    "verify": 10 * _MINUTES_S,
    "road": 30 * _MINUTES_S,
    "replay": 30 * _MINUTES_S,
}
_END_S = 45.0  # for a benchmark that is told to end: its processes and its broker are stopped in order


@dataclass(frozen=True, slots=True)
class Ran:
    """A benchmark that ran: its tables, how long it took, and what went wrong (None if nothing)."""

    name: str
    took_s: float
    told: list[Told]
    fault: str | None

    @property
    def missed(self) -> bool:
        """Whether a target was missed."""
        return any(figure.met is False for told in self.told for figure in told.figures)


def names() -> list[str]:
    """The benchmarks that are here, in the order in which they run: short ones first."""
    return [name for name in DEADLINES_S if find_spec(f"benchmarks.{name}") is not None]


def arguments(name: str, rounds: int | None, quick: bool) -> list[str]:
    """The options of a benchmark: its `QUICK` ones, and the number of rounds if it has rounds.

    Raises:
        ValueError: it has no quick ones.
    """
    if rounds is None and not quick:
        return []
    module = import_module(f"benchmarks.{name}")
    if quick and not hasattr(module, "QUICK"):
        raise ValueError(f"{name} cannot be run quickly")
    chosen = module.QUICK.split() if quick else []
    if rounds is not None and any(option.name == "rounds" for option in module.main.params):
        chosen += ["--rounds", str(rounds)]
    return chosen


def run(name: str, options: Sequence[str], deadline_s: float) -> Ran:
    """Run one to its end, or to its deadline; what it prints goes to standard error.

    It has a temporary folder of its own, so that one that was killed leaves nothing on the disk either: its processes
    follow its death (`lab`).
    """
    with TemporaryDirectory(prefix="auerbach-bench-") as folder:
        told, began = Path(folder) / "told.jsonl", time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", *options],
            cwd=_ROOT,
            env={**os.environ, TOLD_FILE: str(told), "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=2,
            # Ctrl-C reaches only us: we end it in order.
            start_new_session=True,
            preexec_fn=follow_our_death(),  # noqa: PLW1509 - one C call, and no thread here but ours
        )
        try:
            code = process.wait(deadline_s)
            fault = f"ended with {code}" if code else None
        except subprocess.TimeoutExpired:
            fault = f"not over in {deadline_s:.0f} s"
        finally:
            _end(process)
        tables = told_in(told)
    if fault is None and not tables:
        fault = "told no figures"
    return Ran(name, time.monotonic() - began, tables, fault)


def summary(ran: Sequence[Ran]) -> Iterator[str]:
    """The lines of the table of all, and one for each benchmark that failed."""
    yield from table([replace(figure, name=f"{each.name}: {figure.name}") for each, figure in _figures(ran)])
    yield ""
    for each in ran:
        if each.fault is not None:
            yield f"FAILED: {each.name}: {each.fault}"
    missed = [f"{each.name}: {figure.name}" for each, figure in _figures(ran) if figure.met is False]
    if missed:
        yield f"MISSED: {'; '.join(missed)}"


def _figures(ran: Sequence[Ran]) -> Iterator[tuple[Ran, Figure]]:
    return ((each, figure) for each in ran for told in each.told for figure in told.figures)


def told_in(path: Path) -> list[Told]:
    """What a benchmark has told; a line that was not finished, by one that was killed, is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return list(_one_run([msgspec.json.decode(line, type=Told) for line in lines]))


def _one_run(tables: Sequence[Told]) -> Iterator[Told]:
    """The tables of a run, of one instant; where there are several, each figure's name begins with its table's."""
    for told in tables:
        first = f"{told.title.partition(';')[0]}: " if len(tables) > 1 else ""
        yield replace(told, taken=tables[0].taken, figures=[_renamed(figure, first) for figure in told.figures])


def _renamed(figure: Figure, first: str) -> Figure:
    limit = _renamed(figure.limit, first) if figure.limit is not None else None
    return replace(figure, name=first + figure.name, limit=limit)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it end by Ctrl-C, in order; kill it if that takes too long."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    if process.poll() is None:
        process.kill()
        process.wait()
