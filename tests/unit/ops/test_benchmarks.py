"""The benchmarks: figures are told as they were taken, and each command that a page gives is one."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks import flatness, suite
from benchmarks.figures import Figure, number, ratios, tell

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "benchmarks" / "RESULTS.md", ROOT / "docs" / "development.md"]
COMMANDS = sorted(
    {
        words
        for page in PAGES
        for words in re.findall(r"python -m (benchmarks\.[a-z_]+[^`\n]*)", page.read_text())
        if not words.startswith("benchmarks.demo")
    }
)


# Those that benchmarks run, and the demonstration.
NOT_ALONE = {"__main__", "demo", "members", "profiled", "road_traced"}
PROGRAMS = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if path.stem not in NOT_ALONE and '__name__ == "__main__"' in path.read_text()
}


def test_every_benchmark_is_on_the_pages() -> None:
    assert {words.split()[0].partition(".")[2] for words in COMMANDS} == PROGRAMS


def test_the_suite_runs_every_benchmark() -> None:
    # This one says where the time goes, with everything slowed down by saying it.
    assert set(suite.names()) == PROGRAMS - {"road_hops"}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_that_a_page_gives_is_taken(words: str) -> None:
    module, *arguments = shlex.split(words)
    command = import_module(module).main
    assert isinstance(command, click.Command)

    command.make_context(module, arguments)  # raises UsageError for what it does not take


def test_the_cost_of_a_message_is_measured_in_small_and_large_worlds() -> None:
    asked = ["--rounds", "1", "--commands", "32", "--large", "64", "--no-real"]
    ran = CliRunner().invoke(flatness.main, asked, catch_exceptions=False)

    assert ran.exit_code == 0
    for what in flatness.PAIRS:
        assert re.search(rf"\| {what}: 64 against \d[\d,]* \| ratio \| [\d.,]+ \|", ran.stdout)


def test_a_figure_is_held_against_its_target_by_its_median() -> None:
    assert Figure("x", "s", [9.0, 1.0, 2.0], at_most=2).target == "≤ 2.00 met"
    assert Figure("x", "s", [9.0, 1.0, 2.1], at_most=2).target == "≤ 2.00 MISSED"
    assert Figure("x", "/s", [9.0, 1.0, 2.0], at_least=3).target == "≥ 3.00 MISSED"
    assert Figure("x", "/s", [9.0]).target == ""


def test_a_table_says_least_median_and_greatest_and_where_it_was_taken(capsys: pytest.CaptureFixture[str]) -> None:
    tell("Title", 0.0, [Figure("x", "ms", [3.0, 1.0, 2.0])])

    title, _, conditions, *_, row = capsys.readouterr().out.splitlines()
    assert title == "### Title"
    assert "cores" in conditions
    assert "commit" in conditions
    assert row == "| x | ms | 1.00 | 2.00 | 3.00 | 3 |  |"


def test_numbers_have_the_digits_that_count() -> None:
    assert [number(v) for v in (12_345.6, 45.61, 1.2345, 0.0123, 0)] == ["12,346", "45.6", "1.23", "0.012", "0"]


def test_rounds_are_compared_one_by_one() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])
