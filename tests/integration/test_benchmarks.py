"""Each benchmark that needs a broker runs to its end, at a size that shows nothing but that."""

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks import suite, throughput
from tests.support.stack import START_S, STOP_S, clean_environment
from tests.support.waiting import eventually

# A figure of each that is told last.
TOLD_LAST = {
    "throughput": "at 16 a record",
    "latency": "p99 at 50/s",
    "cold_start": "all partitions open",
    "fan_out": "bursts of 10 / C loop",
    "idle": "following a group",
    "round_trip": "p99.9",
    "resume": "rise for each client",
    "history_rpc": "last 50 of 300 against last 50 of 100",
    "amqp_in": "CPU of the bridge",
    "amqp_out": "a bridge, from the log",
    "road": "CPU of the broker / bare Kafka",
    "stalls": "SIGKILL, with the supervisor",
}


@pytest.mark.parametrize("name", TOLD_LAST)
def test_a_benchmark_runs_to_its_end(name: str, kafka_jars: Path) -> None:
    command = import_module(f"benchmarks.{name}").main
    assert isinstance(command, click.Command)

    ran = CliRunner().invoke(command, suite.arguments(name, rounds=None, quick=True), catch_exceptions=False)

    assert ran.exit_code == 0, ran.stderr
    assert TOLD_LAST[name] in ran.stdout


class Standstill:
    """A lab, and its worker, on a machine that stands still from the first command to the last."""

    def __init__(self) -> None:
        self.events = 7

    def write(self, records: Sequence[tuple[int, bytes]], topic: str) -> None:
        self.events += 16 * len(records)

    def written(self) -> int:
        return self.events

    def cpu_s(self) -> float:
        return 0.001 * self.events


def test_what_was_over_between_two_looks_is_measured_from_the_first_of_them() -> None:
    machine: Any = Standstill()

    rate, cpu_s = throughput.measure(machine, machine, [(0, b"")] * 10, 16)

    assert rate > 0
    assert cpu_s == pytest.approx(0.001)


def test_a_benchmark_that_is_killed_leaves_no_process_behind(tmp_path: Path, kafka_jars: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        killed = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.latency", "--partitions", "1"],
            env=clean_environment(TMPDIR=str(tmp_path)),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        eventually(
            lambda: "--worker" in " ".join(_processes(tmp_path)), within_s=START_S, what="a processor on its broker"
        )
    finally:
        killed.kill()
        killed.wait()

    eventually(lambda: not _processes(tmp_path), within_s=STOP_S, what="all of them gone")


def _processes(folder: Path) -> list[str]:
    """The command lines of what runs with this temporary folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"TMPDIR={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            pass  # it has ended meanwhile
    return [line for line in found if line]  # a zombie has none
