"""The migration page: its commands are taken, and its settings are there with the defaults that it names."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from app.config import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "migration.md").read_text()
COMMANDS = re.findall(r"\.venv/bin/python (docs/migration/\w+\.py [^\n`]+)", PAGE)
ROWS = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \| ", PAGE.partition("## What to set")[2], flags=re.MULTILINE)


def test_the_page_gives_both_programs() -> None:
    assert {Path(command.split()[0]).name for command in COMMANDS} == {"check.py", "seed.py"}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_program_that_the_page_gives_takes_its_arguments(words: str) -> None:
    file, *arguments = shlex.split(words)
    spec = importlib.util.spec_from_file_location(Path(file).stem, ROOT / file)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)

    program.arguments().parse_args(arguments)  # exits for what it does not take


@pytest.mark.parametrize(("names", "said"), ROWS)
def test_every_setting_that_the_page_explains_has_the_default_that_it_says(names: str, said: str) -> None:
    defaults = {str(field.alias): field.default for field in Settings.model_fields.values()}
    named, values = re.findall(r"`([A-Z_]+)`", names), re.findall(r"`([^`]+)`", said) or [""]

    actual = [spelled(defaults[name]) for name in named]

    assert actual == (values if len(values) == len(named) else values * len(named))  # one default may be that of two


def spelled(value: object) -> str:
    """A default as one writes it in the environment."""
    if isinstance(value, bool):
        return "true" if value else "0"
    return "" if value is None else str(value)


def test_the_page_explains_every_setting_of_the_replaced_service() -> None:
    named = set(re.findall(r"`([A-Z_]+)`", "".join(names for names, _ in ROWS)))
    old = {"HTTP_PORT", "GRPC_PORT", "USER_SERVICE_EVENT_QUEUE"}
    old |= {f"RABBITMQ_{part}" for part in ("HOST", "VIRTUAL_HOST", "PORT", "USERNAME", "PASSWORD")}

    assert old <= named
