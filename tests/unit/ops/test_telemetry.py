"""What is logged of an exception: where it was, and none of the values, which are tokens and texts."""

import io
import sys
from collections.abc import Iterator

import pytest
import structlog

from app.telemetry import configure_logging, logger

SECRET = "canary-of-a-token"


class Stream(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_logged_exception_shows_no_values(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    printed = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", printed)
    configure_logging("INFO")
    fail("".join(SECRET))
    assert "ZeroDivisionError" in printed.getvalue()
    assert SECRET not in printed.getvalue()


def fail(token: str) -> None:
    try:
        len(token) / 0
    except ZeroDivisionError:
        logger("test").exception("it failed")
