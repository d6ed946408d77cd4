"""The replay's killer and meter, on processes that do nothing."""

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from auerbach_client import ChatError

from app.cli.playback.log import Channel, Line
from benchmarks.killer import Killer
from benchmarks.meter import Meter, of_process
from benchmarks.record import Record

CHANNEL = Channel("g", [Line(1, "ann", "text", 0.0)])
DEADLINE_S = 30


class Always(random.Random):
    """Draws `share` where a share is drawn."""

    def __init__(self, share: float) -> None:
        super().__init__(1)
        self.share = share

    def random(self) -> float:
        return self.share


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def end(record: Record) -> None:
    record.failed(CHANNEL, CHANNEL.lines[0], ChatError("timeout", "late"))


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not look():
            await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_who_was_killed_is_not_struck_again_before_it_has_a_new_process(victim: subprocess.Popen[bytes]) -> None:
    asked: list[str] = []

    def pid_of(name: str) -> int:
        asked.append(name)
        return victim.pid

    record = Record([CHANNEL])
    killer = Killer(pid_of, ["processor-0"], Always(0.99), every_s=(0.0, 0.001))
    killing = asyncio.create_task(killer(record))
    await until(lambda: len(asked) > 3)
    end(record)
    await asyncio.wait_for(killing, DEADLINE_S)

    assert victim.wait(DEADLINE_S) == -signal.SIGKILL
    assert killer.counts() == {("SIGKILL", "processor"): 1}


async def test_nobody_stays_paused_when_the_run_is_over(
    victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.killer.GATEWAY_PAUSE_S", (3600.0, 3600.0))
    record = Record([CHANNEL])
    killer = Killer(lambda _: victim.pid, ["gateway-0"], Always(0.2), every_s=(0.0, 0.001))
    killing = asyncio.create_task(killer(record))
    await until(lambda: state_of(victim.pid) == "T")
    end(record)
    await asyncio.wait_for(killing, DEADLINE_S)

    assert state_of(victim.pid) != "T"
    assert killer.counts() == {("SIGSTOP", "gateway"): 1}


async def test_nobody_is_struck_where_the_run_ends_as_the_next_blow_is_due(victim: subprocess.Popen[bytes]) -> None:
    record = Record([CHANNEL])
    killer = Killer(lambda _: victim.pid, ["gateway-0"], Always(0.99), every_s=(0.0, 0.0))
    killing = asyncio.create_task(killer(record))
    await asyncio.sleep(0)  # its wait is over in the next turn of the loop
    end(record)
    await asyncio.wait_for(killing, DEADLINE_S)

    assert killer.blows == []


def test_what_a_name_takes_is_summed_over_its_lives() -> None:
    pids = iter([os.getpid(), os.getppid()])
    meter = Meter(lambda _: next(pids), ["gateway-0"])
    each = [of_process(os.getpid()), of_process(os.getppid())]

    meter.look()
    meter.look()

    assert meter.lives("gateway-0") == 2
    assert meter.usage()["gateway-0"].cpu_s >= sum(usage.cpu_s for usage in each)
    assert meter.usage()["gateway-0"].peak_mib >= max(usage.peak_mib for usage in each)
