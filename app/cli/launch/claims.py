"""Who runs on a data folder: a lock for each name, held by the process itself, and its pid beside it.

A pid alone proves nothing: after a crash the number may belong to anyone. The lock is the kernel's (`flock`), ends
with its last holder whatever killed it, and passes to a child with the file descriptor. So a stale pid file never
blocks a start, and no process is ever signalled because of a number in a file.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from app.cli.launch.errors import LaunchError, TakenError

INHERITED = "AUERBACH_CLAIM_FD"
_POLL_S = 0.1


class Claim:
    """The right to run as one name (`kafka`, `processor-0`, `up`, …) on one data folder."""

    def __init__(self, folder: Path, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self._pid_file = folder / f"{name}.pid"

    @classmethod
    def take(cls, data: Path, name: str, wait_s: float = 0) -> Self:
        """Claim `name`, waiting up to `wait_s` for a holder that is on its way out.

        Raises:
            TakenError: another process still holds it.
            LaunchError: the folder cannot be written.
        """
        folder = data / "run"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as failed:
            raise LaunchError(f"DATA: cannot write in {folder} ({failed.strerror})") from None
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                    continue
                os.close(fd)
                holder = f"{name} is already running{_pid_of(folder, name)} on {data}"
                raise TakenError(f"{holder}; stop it first, or set DATA to another folder") from None
            return cls(folder, name, fd)

    def record(self, pid: int) -> None:
        """Write the pid of the process that runs under this claim, whole or not at all."""
        part = self._pid_file.with_suffix(".pid.part")
        part.write_text(f"{pid}\n")
        part.replace(self._pid_file)

    def release(self) -> None:
        """The process has ended: its pid goes, and the name is free."""
        self._pid_file.unlink(missing_ok=True)
        os.close(self.fd)


@contextmanager
def claimed(data: Path, name: str) -> Iterator[None]:
    """This process runs as `name`: under the claim of who started it, else under its own.

    Raises:
        TakenError: another process runs as `name` on this data folder.
    """
    inherited = os.environ.pop(INHERITED, None)
    if inherited is None:
        claim = Claim.take(data, name)
        claim.record(os.getpid())
    else:
        claim = Claim(data / "run", name, int(inherited))
    try:
        yield
    finally:
        claim.release()


def _pid_of(folder: Path, name: str) -> str:
    try:
        return f" (pid {int((folder / f'{name}.pid').read_text())})"
    except (OSError, ValueError):
        return ""
