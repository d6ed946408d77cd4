"""What the processes of a service take, by name, however often each is killed and started again."""

import asyncio
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import sysconf
from pathlib import Path

_SAMPLE_S = 0.25
_TICK_S = 1 / sysconf("SC_CLK_TCK")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time of all threads, seconds, and the highest memory (resident, MiB)."""

    cpu_s: float
    peak_mib: float


class Meter:
    """Looks at each named process four times a second; what a life takes after its last look is lost.

    `pid_of` gives the pid that a name has now; it may fail with OSError or ValueError between two lives.
    """

    def __init__(self, pid_of: Callable[[str], int], names: Sequence[str]) -> None:
        self._pid_of = pid_of
        self._lives: dict[str, dict[int, Usage]] = {name: {} for name in names}
        self._before: dict[str, float] = {}
        self._own_before = 0.0

    async def run(self, until: asyncio.Event) -> None:
        """Count from now on, until told."""
        self.look()
        self._before = {name: self._cpu_s(name) for name in self._lives}
        self._own_before = own().cpu_s
        while not until.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_SAMPLE_S):
                    await until.wait()
            self.look()

    def look(self) -> None:
        """Take in what each has taken until now; to be called before a process is killed."""
        for name, lives in self._lives.items():
            with suppress(OSError, ValueError, IndexError):
                pid = self._pid_of(name)
                lives[pid] = of_process(pid)

    def usage(self) -> dict[str, Usage]:
        """Of each name, summed over its lives: CPU time since `run` began, and the highest memory of any."""
        return {
            name: Usage(
                self._cpu_s(name) - self._before.get(name, 0.0), max((u.peak_mib for u in lives.values()), default=0.0)
            )
            for name, lives in self._lives.items()
        }

    def own_usage(self) -> Usage:
        """Of this process."""
        now = own()
        return Usage(now.cpu_s - self._own_before, now.peak_mib)

    def lives(self, name: str) -> int:
        """How many processes had this name."""
        return len(self._lives[name])

    def _cpu_s(self, name: str) -> float:
        return sum(usage.cpu_s for usage in self._lives[name].values())


def of_process(pid: int) -> Usage:
    """What a process has taken since its start.

    Raises:
        OSError: there is none.
        ValueError, IndexError: it is about to end (its memory is gone).
    """
    proc = Path(f"/proc/{pid}")
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    peak = (proc / "status").read_text().partition("VmHWM:")[2].split()
    return Usage((int(fields[11]) + int(fields[12])) * _TICK_S, int(peak[0]) * 1024 / _MIB)


def own() -> Usage:
    """What this process has taken since its start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / _MIB)
