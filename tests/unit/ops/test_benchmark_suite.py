"""The suite: what failed and what was missed is told, and the figures of every round are kept and drawn."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agents.processor import HEARTBEAT_S
from benchmarks import plots, suite
from benchmarks.figures import TOLD_FILE, Figure, Told, table, tell
from benchmarks.results import append, read, rows_of
from tests.support.stack import clean_environment
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
BARE = Figure("bare", "ms", [1.0, 2.0, 3.0])
OURS = Figure("p99", "ms", [4.0, 4.0, 9.0], at_most=3.0, limit=BARE)


def told(*figures: Figure, title: str = "Title", busy: bool = False) -> Told:
    taken = datetime(2026, 11, 26, 2, 0, 1, tzinfo=UTC)
    return Told(title, taken, "2 cores", "3.11", "abc1234", load=0.1, busy=busy, figures=list(figures))


def run_suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_a_limit_stands_in_the_table_with_the_median_of_the_rounds_ratios() -> None:
    header, _, bare, ours = table([BARE, OURS])

    assert header.endswith("| target | limit | times the limit |")
    assert bare == "| bare | ms | 1.00 | 2.00 | 3.00 | 3 |  |  |  |"
    assert ours == "| p99 | ms | 4.00 | 4.00 | 9.00 | 3 | ≤ 3.00 MISSED | 2.00 | 3.00 |"


def test_what_is_told_is_also_written_where_the_suite_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "told.jsonl"
    monkeypatch.setenv(TOLD_FILE, str(program))

    tell("First", 0.0, [BARE])
    tell("Second", 0.0, [OURS])

    first, second = suite.told_in(program)
    assert capsys.readouterr().out.count("### ") == 2
    # With two tables, two figures of one name are told apart; a run has one instant.
    assert [figure.name for figure in first.figures] == ["First: bare"]
    assert second.figures == [replace(OURS, name="Second: p99", limit=replace(BARE, name="Second: bare"))]
    assert first.taken == second.taken


def test_a_killed_benchmarks_half_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "told.jsonl").write_bytes(b'{"title":')

    assert suite.told_in(tmp_path / "told.jsonl") == []


def test_one_that_fails_or_does_not_end_is_told_and_not_waited_for() -> None:
    failed = suite.run("latency", ["--no-such-option"], deadline_s=240)
    endless = suite.run("flatness", ["--rounds", "1000000", "--no-real"], deadline_s=0.1)

    assert failed.fault == "ended with 2"
    assert endless.fault == "not over in 0 s"
    assert list(suite.summary([failed]))[-1] == "FAILED: latency: ended with 2"


def test_the_summary_names_what_missed_its_target() -> None:
    ran = suite.Ran("latency", 1.0, [told(BARE, OURS)], fault=None)

    assert ran.missed
    assert list(suite.summary([ran]))[-1] == "MISSED: latency: p99"


def test_every_figure_of_every_round_is_kept_and_read_again(tmp_path: Path) -> None:
    rows = list(rows_of("latency", told(BARE, OURS, busy=True)))
    path = tmp_path / "new" / "results.csv"

    append(path, rows)
    append(path, rows)

    assert read(path) == rows + rows
    assert [(row.figure, row.round, row.value, row.limit) for row in rows[2:5]] == [
        ("bare", 3, 3.0, ""),
        ("p99", 1, 4.0, "bare"),
        ("p99", 2, 4.0, "bare"),
    ]
    assert path.read_text().splitlines()[0] == "taken,commit,machine,busy,benchmark,figure,unit,round,value,limit"


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    append(path, rows_of("latency", told(BARE)))
    path.write_text(path.read_text() + "yesterday,abc\n")

    with pytest.raises(ValueError, match=r"results\.csv, line 5"):
        read(path)


def test_the_limit_in_a_processors_place_beats_as_often_and_brings_no_faust() -> None:
    looked = "import sys, benchmarks.limits.pipe as pipe; print(pipe.HEARTBEAT_MS, 'faust' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", looked], cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
    )

    assert ran.stdout.split() == [str(round(HEARTBEAT_S * 1000)), "False"]


def test_plots_show_runs_limits_percentiles_and_sizes(tmp_path: Path) -> None:
    sizes = [Figure(f"bare Faust, at {size} a record", "commands/s", [size * 1.0]) for size in (1, 16)]
    rows = [*rows_of("latency", told(BARE, OURS)), *rows_of("throughput", told(*sizes, busy=True))]

    drawn = plots.draw(rows, tmp_path / "plots")

    assert [path.name for path in drawn] == [
        "latency-runs.svg",
        "latency-percentiles.svg",
        "latency-limits.svg",
        "throughput-runs.svg",
        "throughput-by-size.svg",
    ]
    assert all(ElementTree.parse(path).getroot().tag.endswith("svg") for path in drawn)


def test_the_suite_runs_those_that_are_named_and_keeps_and_draws_their_figures(tmp_path: Path) -> None:
    kept = tmp_path / "results.csv"

    ran = run_suite("pure_path", "--quick", "--rounds", "2", "--csv", str(kept))

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("| figure | unit |")
    assert {row.benchmark for row in read(kept)} == {"pure_path"}
    assert {row.round for row in read(kept)} == {1, 2}
    assert (tmp_path / "plots" / "pure_path-runs.svg").exists()


def test_an_unknown_benchmark_is_refused_with_those_that_there_are() -> None:
    ran = run_suite("nothing_like_it")

    assert ran.returncode == 2
    assert "no benchmark nothing_like_it; there are pure_path, fan_out" in ran.stderr


def test_ctrl_c_ends_the_one_that_runs(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        program = [sys.executable, "-m", "benchmarks", "flatness", "--rounds", "1000000"]
        started = subprocess.Popen(program, cwd=ROOT, env=clean_environment(), stdout=out, stderr=out)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    (child,) = eventually(lambda: children.read_text().split(), within_s=60, what="a benchmark runs")

    started.send_signal(signal.SIGINT)

    assert started.wait(240) == 1
    # Who ended before it was waited for is the init's to reap, which takes its time.
    eventually(lambda: not Path(f"/proc/{child}").exists(), within_s=60, what="it is gone, too")
