"""Each benchmark that needs a broker runs to its end, at a size that shows nothing but that."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import cold_start, fan_out, idle, latency, resume, round_trip, stalls, throughput

TINY = {
    "at 16 a record": (throughput.main, "--rounds 1 --commands 4000 --sizes 16 --partitions 1 --groups 8"),
    "p99 at 50/s": (latency.main, "--rounds 1 --seconds 1 --rates 50 --partitions 1"),
    "all partitions open": (cold_start.main, "--rounds 1 --rows 1000 --partitions 1"),
    "bursts of 10 / C loop": (fan_out.main, "--rounds 1 --members 20 --messages 20"),
    "following a group": (idle.main, "--sockets 50"),
    "p99.9": (round_trip.main, "--rounds 1 --seconds 1 --rate 20 --groups 2 --partitions 1"),
    "rise for each client": (resume.main, "--rounds 1 --clients 5 --events 700"),
    "SIGKILL, with the supervisor": (stalls.main, "--rounds 1 --seconds 1 --rate 20 --partitions 2"),
}


@pytest.mark.parametrize("figure", TINY)
def test_a_benchmark_runs_to_its_end(figure: str, kafka_jars: Path) -> None:
    command, asked = TINY[figure]
    assert isinstance(command, click.Command)

    ran = CliRunner().invoke(command, asked.split(), catch_exceptions=False)

    assert ran.exit_code == 0, ran.stderr
    assert figure in ran.stdout
