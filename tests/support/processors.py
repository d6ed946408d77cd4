"""Processors in processes of their own, side by side on one broker, and who owns what."""

import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.kafka import topics
from app.reads import OwnerRecord, decode_owner
from tests.support.driver import Driver
from tests.support.stack import Command, clean_environment
from tests.support.waiting import eventually

OPEN_S = 90
# A worker that stood still for half its session leaves, and nobody starts it again here; a machine that stands still
# for some seconds is no fault that tests are about. Whoever waits for the end of a session asks for a short one.
SESSION_S = "60"


class Processor:
    """One worker slot: it can be started again and again, under the same name and on the same disk."""

    def __init__(self, driver: Driver, data: Path, name: str = "processor-0", **settings: str) -> None:
        self.name = name
        self.data = data
        self._driver = driver
        environment = {"AUERBACH_SESSION_TIMEOUT_S": SESSION_S, **settings}
        self._env = clean_environment(KAFKA_BOOTSTRAP=driver.bootstrap, DATA=str(data), **environment)
        self._starts = itertools.count()
        self._command: Command | None = None

    def start(self) -> None:
        """Start it; it has nothing yet when this returns."""
        self.data.mkdir(parents=True, exist_ok=True)
        output = self.data / f"{self.name}.{next(self._starts)}.out"
        self._command = Command(output, self._env, "processor", "--worker", self.name)

    def start_open(self, partitions: int | None = None) -> None:
        """Start it and wait until `partitions` (all, unless said) are open."""
        self.start()
        self.wait_open(partitions if partitions is not None else self._driver.layout.partitions)

    def wait_open(self, partitions: int, within_s: float = OPEN_S) -> None:
        """Wait until this life of it has opened partitions so often."""
        self.wait_printed('"event": "partition open"', within_s, times=partitions)

    def wait_printed(self, text: str, within_s: float = OPEN_S, times: int = 1) -> None:
        """Wait until this life of it has printed `text` so often; fails with its output if it ends before."""
        command = self._running()

        def look() -> bool:
            ended = command.process.poll()
            seen = command.printed().count(text) >= times
            assert seen or ended is None, f"ended with {ended}:\n{command.printed()}"
            return seen

        eventually(look, within_s=within_s, what=f"{times} of {text} by {self.name}")

    def printed(self) -> str:
        """What this life of it has printed."""
        return self._running().printed()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it; after SIGKILL it is gone when this returns."""
        process = self._running().process
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._command.stop(signal.SIGTERM) if self._command is not None else 0

    def wait_for_exit(self, within_s: float = OPEN_S) -> int:
        """The exit code, once it has left by itself."""
        return self._running().process.wait(within_s)

    def _running(self) -> Command:
        assert self._command is not None, f"{self.name} was never started"
        return self._command


@contextmanager
def processors(driver: Driver, data: Path, count: int, **settings: str) -> Iterator[list[Processor]]:
    """So many worker slots, none started; all that still run are stopped afterwards."""
    made = [Processor(driver, data, f"processor-{i}", **settings) for i in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.stop()


def owners(driver: Driver) -> dict[int, OwnerRecord]:
    """The newest owner record of each partition."""
    return {int(m.key()): decode_owner(m.value()) for m in driver.read(topics.OWNERS)}


def owned_by(driver: Driver, worker: str) -> set[int]:
    """The partitions whose newest owner record names `worker`."""
    return {number for number, record in owners(driver).items() if record.worker == worker}
