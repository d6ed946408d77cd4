"""Processes are kept running, and stopped in order."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli.launch.claims import Claim
from app.cli.launch.errors import LaunchError, TakenError
from app.cli.launch.parts import Part
from app.cli.launch.supervisor import Supervisor
from tests.support.until import until

SLEEPER = "import time; time.sleep(600)"
# Writes its name when it is told to end. The signal is blocked: one that came just before pause() would be lost.
POLITE = """
import signal, sys
name, log = sys.argv[1:]
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("up", flush=True)
signal.sigwait({signal.SIGTERM})
with open(log, "a") as f: f.write(name + "\\n")
"""
# Says a word and ends, in its first life; it stays in the second.
ONCE = """
import pathlib, sys, time
mark = pathlib.Path(sys.argv[1])
again = mark.exists()
mark.touch()
print("more of it", flush=True)
if again: time.sleep(600)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


def part(name: str, script: str, *arguments: str, stop_s: float = 60) -> Part:
    return Part(name, (sys.executable, "-c", script, *arguments), stop_s=stop_s)


class Bench:
    """A supervisor over `tmp_path`, and what it said."""

    def __init__(self, data: Path, *, restart: bool = True) -> None:
        self.data = data
        self.said: list[str] = []
        (data / "log").mkdir(exist_ok=True)
        self.supervisor = Supervisor(data, restart=restart, say=self.said.append)

    async def run(self, *parts: Part) -> None:
        for each in parts:
            await self.supervisor.claim(each.name)
        await self.supervisor.start(*parts)

    def pid(self, name: str) -> int:
        return int((self.data / "run" / f"{name}.pid").read_text())

    def log(self, name: str) -> str:
        return (self.data / "log" / f"{name}.log").read_text()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.supervisor.stop()


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_a_process_that_is_killed_is_started_again_with_a_new_pid(bench: Bench) -> None:
    await bench.run(part("a", SLEEPER))
    first = bench.pid("a")

    os.kill(first, signal.SIGKILL)
    await until(lambda: bench.pid("a") != first)

    assert is_alive(bench.pid("a"))
    assert bench.said[0].startswith("a was killed by SIGKILL; starting it again (see ")


async def test_a_crash_loop_slows_down_and_says_so(bench: Bench) -> None:
    await bench.run(Part("a", ("/bin/sh", "-c", "exit 7")))  # quick: so many deaths must fall into the window

    await until(lambda: any("again and again; next start in " in line for line in bench.said))

    assert bench.said[0].startswith("a ended with code 7; starting it again")


async def test_without_restart_the_dead_stay_dead_and_their_name_is_free(tmp_path: Path) -> None:
    bench = Bench(tmp_path, restart=False)
    await bench.run(part("a", SLEEPER), part("b", SLEEPER))

    os.kill(bench.pid("a"), signal.SIGKILL)
    await until(lambda: bool(bench.said))

    assert bench.said == ["a was killed by SIGKILL; not started again (--no-restart)"]
    assert not (tmp_path / "run" / "a.pid").exists()
    Claim.take(tmp_path, "a").release()
    with pytest.raises(TakenError):
        Claim.take(tmp_path, "b")
    await bench.supervisor.stop()


async def test_without_restart_the_last_death_is_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, restart=False)
    await bench.run(part("a", "raise SystemExit(0)"))

    with pytest.raises(LaunchError, match="no process is left"):
        await asyncio.wait_for(bench.supervisor.failed(), 60)

    await bench.supervisor.stop()


async def test_a_bad_setting_stops_the_whole_with_the_processs_own_words(bench: Bench) -> None:
    (bench.data / "log" / "a.log").write_text("error: of an earlier life\n")
    await bench.run(part("a", "print('error: PORT: must be a number', flush=True); raise SystemExit(2)"))

    with pytest.raises(LaunchError) as refused:
        await asyncio.wait_for(bench.supervisor.failed(), 60)

    assert str(refused.value) == "a refuses to start:\nerror: PORT: must be a number"


async def test_once_all_work_the_same_code_is_a_death_like_any_other(bench: Bench) -> None:
    bench.supervisor.settled()
    await bench.run(part("a", "raise SystemExit(2)"))

    await until(lambda: bool(bench.said))

    assert bench.said[0].startswith("a ended with code 2; starting it again")


async def test_what_was_started_last_is_stopped_first(bench: Bench) -> None:
    order = bench.data / "order"
    for stage in (["kafka"], ["processor-0", "processor-1"], ["gateway-0"]):
        await bench.run(*(part(name, POLITE, name, str(order)) for name in stage))
        await until(lambda names=stage: all(bench.log(name) for name in names))  # type: ignore[misc]

    await bench.supervisor.stop()

    stopped = order.read_text().split()
    assert (stopped[0], sorted(stopped[1:3]), stopped[3]) == ("gateway-0", ["processor-0", "processor-1"], "kafka")
    assert not list((bench.data / "run").glob("*.pid"))


async def test_a_process_that_will_not_end_is_killed_when_its_time_is_over(bench: Bench) -> None:
    await bench.run(part("a", DEAF, stop_s=0.2))
    await until(lambda: bool(bench.log("a")))
    pid = bench.pid("a")

    await bench.supervisor.stop()

    assert not is_alive(pid)


async def test_a_second_signal_kills_at_once(bench: Bench) -> None:
    await bench.run(part("a", DEAF, stop_s=600))
    await until(lambda: bool(bench.log("a")))
    began = time.monotonic()

    bench.supervisor.hurry.set()
    await bench.supervisor.stop()

    assert time.monotonic() - began < 60


async def test_a_paused_process_is_stopped_too(bench: Bench) -> None:
    await bench.run(part("a", POLITE, "a", str(bench.data / "order")))
    await until(lambda: bool(bench.log("a")))
    os.kill(bench.pid("a"), signal.SIGSTOP)

    await bench.supervisor.stop()

    assert (bench.data / "order").read_text() == "a\n"


async def test_a_program_that_is_not_there_is_one_line(bench: Bench) -> None:
    await bench.supervisor.claim("a")

    with pytest.raises(LaunchError, match=r"^a: cannot be started \(No such file or directory: '?/no/java"):
        await bench.supervisor.start(Part("a", ("/no/java",)))


async def test_a_log_is_appended_to_and_put_aside_when_it_has_grown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.launch.child.LOG_BYTES", 10)
    log = bench.data / "log" / "a.log"
    log.write_text("short\n")
    await bench.run(part("a", ONCE, str(bench.data / "lived")))
    await until((bench.data / "log" / "a.log.1").exists)

    assert (bench.data / "log" / "a.log.1").read_text() == "short\nmore of it\n"
