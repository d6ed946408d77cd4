"""What the processes of a service take: CPU time and memory, the broker's too."""

import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import Gateway, Lab, Worker

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MIB = 1 << 20
DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class Processes:
    """The pids of a service's processes, by what they are; several may be one thing ("processors")."""

    pids: Mapping[str, tuple[int, ...]]

    def cpu_s(self) -> dict[str, float]:
        """The CPU seconds of all threads until now, and this process's own as `DRIVER`."""
        return {what: sum(map(cpu_s, pids)) for what, pids in self.pids.items()} | {DRIVER: _own_cpu_s()}

    def memory_mib(self) -> dict[str, float]:
        """The resident memory now."""
        return {what: sum(map(_resident, pids)) / _MIB for what, pids in self.pids.items()}


def threads_s(pid: int) -> dict[str, float]:
    """The CPU seconds of each thread until now, those of one name together (proc(5); numbers are cut from names)."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, spent = (task / "comm").read_text().strip(), (task / "schedstat").read_text().split()[0]
        except OSError:
            continue  # it has ended meanwhile
        name = name.rstrip("0123456789-#: ")
        found[name] = found.get(name, 0.0) + int(spent) / 1e9
    return found


def broker_pid(service: Lab) -> int:
    """The pid of a lab's broker."""
    return int((service.folder / "broker" / "run" / "kafka.pid").read_text())


def pids_of(service: Lab, workers: Sequence[Worker], doors: Sequence[Gateway]) -> dict[str, tuple[int, ...]]:
    """The pids of all of a service, by what they are."""
    return {
        "broker": (broker_pid(service),),
        "processors": tuple(worker.process.pid for worker in workers),
        "gateways": tuple(door.process.pid for door in doors),
    }


def cpu_s(pid: int) -> float:
    """The CPU seconds of all threads of a process until now (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _own_cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def _resident(pid: int) -> int:
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
