"""One child process: its own session, its log file, its claim, and a death that follows ours."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

from app.cli.launch.claims import INHERITED, Claim
from app.cli.launch.errors import LaunchError
from app.cli.launch.parts import Part

LOG_BYTES = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Child:
    """A running part."""

    def __init__(self, part: Part, process: asyncio.subprocess.Process, log: Path, log_start: int) -> None:
        self.part = part
        self.pid = process.pid
        self._process = process
        self._log = log
        self._log_start = log_start

    @classmethod
    async def start(cls, part: Part, claim: Claim, data: Path) -> Self:
        """Start `part` under its claim, with its output appended to its log.

        Raises:
            LaunchError: the program or the log cannot be opened.
        """
        log = log_path(data, part.name)
        try:
            with open_log(log) as output:
                start = output.tell()
                process = await asyncio.create_subprocess_exec(
                    *part.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=part.folder,
                    env=environment(part, claim),
                    pass_fds=(claim.fd,),
                    # Ctrl-C reaches only us: we end them in order.
                    start_new_session=True,
                    preexec_fn=follow_our_death(),
                )
            claim.record(process.pid)
        except OSError as failed:
            raise LaunchError(f"{part.name}: cannot be started ({failed.strerror}: {failed.filename})") from None
        return cls(part, process, log, start)

    async def ended(self) -> int:
        """Wait for the end: the exit code, or minus the signal."""
        return await self._process.wait()

    async def stop(self, at_once: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL when its time is over or `at_once` is set."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that was paused ends too
        ended = asyncio.create_task(self.ended())
        hurried = asyncio.create_task(at_once.wait())
        await asyncio.wait({ended, hurried}, timeout=self.part.stop_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self._signal(signal.SIGKILL)
        await ended

    def last_words(self, lines: int = 5) -> str:
        """The last lines that it wrote in this life."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8192))
            written = log.read().decode(errors="replace").splitlines()
        return "\n".join([line for line in written if line.strip()][-lines:])

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def log_path(data: Path, name: str) -> Path:
    """Where a process writes."""
    return data / "log" / f"{name}.log"


def open_log(path: Path) -> BinaryIO:
    """A log to append to; one that has grown over `LOG_BYTES` is put aside first, in the place of the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def environment(part: Part, claim: Claim) -> dict[str, str]:
    """Ours, with the part's own names and the claim that it inherits."""
    return {**os.environ, **part.env, INHERITED: str(claim.fd)}


def follow_our_death() -> Callable[[], None] | None:
    """What a child does between fork and exec: ask to be killed when we are, so that kill -9 leaves no orphans.

    SIGKILL, not SIGTERM: told all at once, a processor would wait for a broker that leaves too. Every part survives
    a crash. Linux only. One C call, prepared here: nothing is imported or allocated in the forked child.
    """
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # we died between the fork and the call
            os._exit(1)

    return ask
