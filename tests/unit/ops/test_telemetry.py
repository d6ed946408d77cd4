"""What is logged of an exception: where it was, and none of the values, which are tokens and texts."""

import io
import logging
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
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
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_logged_exception_shows_no_values(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    printed = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", printed)
    configure_logging("INFO")
    fail("".join(SECRET))
    assert "ZeroDivisionError" in printed.getvalue()
    assert SECRET not in printed.getvalue()


@pytest.mark.usefixtures("_as_before")
def test_a_line_is_one_write_so_that_lines_of_other_threads_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    printed = Stream(terminal=False)
    monkeypatch.setattr(printed, "write", writes.append)
    monkeypatch.setattr(sys, "stderr", printed)
    configure_logging("INFO")

    logger("room").info("ours", number=1)
    logging.getLogger("library").warning("theirs")

    assert [(text.count("\n"), text[-1]) for text in writes] == [(1, "\n"), (1, "\n")]


def fail(token: str) -> None:
    try:
        len(token) / 0
    except ZeroDivisionError:
        logger("test").exception("it failed")


# Whatever can go wrong in a process, each in its own way to standard error.
PROGRAM = """
import asyncio, gc, logging, threading, warnings
from app.kafka.client_log import LOGGER
from app.telemetry import configure_logging, logger

configure_logging(LEVEL)
logger("web").info("ours", group="g\\n{}")
logger("web").debug("ours in detail")
LOGGER.error("librdkafka: a broker\\nis away")
logging.getLogger("aiohttp.server").error("aiohttp: %s", "two\\nlines")
logging.getLogger("aiokafka").debug("a record: canary-of-a-text")
warnings.warn("a warning")

async def forgotten():
    raise ValueError("nobody awaits")

async def main():
    task = asyncio.create_task(forgotten())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.01)

asyncio.run(main())

class Fails:
    def __del__(self):
        raise ValueError("in a finalizer")

Fails()
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def lines_of(level: str) -> list[dict[str, Any]]:
    """What the program says, each line decoded."""
    program = [sys.executable, "-c", PROGRAM.replace("LEVEL", repr(level))]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    return [msgspec.json.decode(line) for line in ran.stderr.splitlines()]


def test_off_a_terminal_every_line_is_a_json_object_whoever_says_it() -> None:
    said = lines_of("INFO")

    assert all({"event", "level", "timestamp"} <= line.keys() for line in said)
    events = [(line["level"], line["event"].splitlines()[0]) for line in said]
    assert events[:3] == [("info", "ours"), ("error", "librdkafka: a broker"), ("error", "aiohttp: two")]
    assert ("error", "Task exception was never retrieved") in events
    assert any(level == "error" and event.startswith("Exception in callback") for level, event in events)
    assert any("a warning" in line["event"] for line in said)
    assert events[-3:] == [
        ("error", "an exception that could not be raised"),
        ("critical", "an exception that nobody caught in a thread"),
        ("critical", "an exception that nobody caught"),
    ]
    assert said[-1]["exception"][0]["exc_type"] == "RuntimeError"


def test_what_libraries_say_in_detail_is_never_logged() -> None:
    said = lines_of("DEBUG")

    assert "ours in detail" in [line["event"] for line in said]
    assert not any("canary" in line["event"] for line in said)


def test_on_a_terminal_lines_are_for_people() -> None:
    here, there = pty.openpty()
    program = 'from app.telemetry import *; configure_logging("INFO"); logger("web").info("a word", sockets=3)'
    ran = subprocess.run([sys.executable, "-c", program], stderr=there, timeout=240, check=True)
    printed = os.read(here, 65_536).decode()
    os.close(here)
    os.close(there)

    assert ran.returncode == 0
    assert "a word" in printed
    assert "\x1b[" in printed
    assert "{" not in printed
