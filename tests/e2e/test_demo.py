"""The demo against a whole service: two gateways, two processors, a real log, readers that cut their connections."""

import subprocess
import sys

from tests.support.stack import Stack, clean_environment


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.demo", *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_every_line_of_the_sample_is_acknowledged_once_and_all_readers_end_with_the_same_bytes(stack: Stack) -> None:
    ran = demo("--url", stack.http_url(0), "--url", stack.http_url(1), "--seed", "7", "--deadline", "150")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "acknowledged  3,300 lines; 0 not" in ran.stdout
    assert ran.stdout.count("1,101 events") == 3
    assert "every line is in the log once" in ran.stdout


def test_without_a_service_the_demo_says_so_in_a_line_and_fails() -> None:
    ran = demo("--url", "http://127.0.0.1:1")

    assert ran.returncode == 1
    assert "no connection within" in ran.stderr
    assert "Traceback" not in ran.stderr
