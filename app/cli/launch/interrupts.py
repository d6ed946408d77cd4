"""How a person or a script says stop."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.25
_SIGINT_BIT = 1 << (signal.SIGINT - 1)


@contextmanager
def stop_signals(asked: asyncio.Event, again: asyncio.Event) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP set `asked`; another one sets `again`. Under nohup a hang-up stays ignored."""
    loop = asyncio.get_running_loop()
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)

    def hear() -> None:
        (again if asked.is_set() else asked).set()

    for number in heard:
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


async def make_gave_up() -> None:
    """Wait until the `make` that started us is interrupted or gone; for ever if it was not make.

    GNU make passes SIGTERM on to its recipe, but a SIGINT that only make got it keeps for itself: it restores the
    signal's default action and waits for us to end (`fatal_error_signal` in its commands.c). That is what is seen here.
    """
    parent = os.getppid()
    if _status(parent).get("Name") not in {"make", "gmake"} or not _catches_sigint(parent):
        await asyncio.Event().wait()
    # Nothing wakes us when another process changes its handlers: it has to be looked at.
    while os.getppid() == parent and _catches_sigint(parent):  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)


def _catches_sigint(pid: int) -> bool:
    return bool(int(_status(pid).get("SigCgt", "0"), 16) & _SIGINT_BIT)


def _status(pid: int) -> dict[str, str]:
    """The fields of Linux's /proc/PID/status; none where that is not to be had."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
