"""The documents say what is there: tests, files, settings."""

import re
from pathlib import Path

import click
import pytest

from app.cli.main import commands
from app.config import Settings

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = [
    (page.relative_to(ROOT).as_posix(), file, name)
    for page in PAGES
    for file, name in re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`", page.read_text())
]


@pytest.mark.parametrize(("page", "file", "name"), NAMED)
def test_every_test_that_a_page_names_exists(page: str, file: str, name: str) -> None:
    written = (ROOT / file).read_text()

    assert re.search(rf"^(async )?def {name}\(", written, flags=re.MULTILINE), f"{page} names {file}::{name}"


def test_every_promise_has_a_test() -> None:
    rows = [row for row in (ROOT / "docs" / "guarantees.md").read_text().splitlines() if row.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| promise ")]

    assert len(promises) > 20
    assert all("::test_" in row for row in promises)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())

    assert all((page.parent / link).exists() for link in links if "://" not in link)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(AUERBACH_[A-Z_]+|KAFKA_[A-Z_]+)", page.read_text()))

    assert named <= {str(field.alias) for field in Settings.model_fields.values()}


@pytest.mark.parametrize("decision", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda page: page.name)
def test_every_decision_says_what_why_and_what_holds_it(decision: Path) -> None:
    text = decision.read_text()

    assert text.startswith(f"# {decision.name[:3]}: ")
    assert all(f"**{part}.**" in text for part in ("Decided", "Why", "Held by"))


COMMANDS = [
    (page.name, words) for page in PAGES for words in re.findall(r"python -m app ([a-z][\w./ -]*)", page.read_text())
]


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_every_command_that_a_page_gives_is_one(page: str, words: str) -> None:
    name, *arguments = words.split()
    command = commands.get_command(click.Context(commands), name)

    assert command is not None, f"{page}: {name}"
    command.make_context(name, arguments)  # raises UsageError for what it does not take
