"""Kills and pauses processes of a service at random instants; `up` starts what died again."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.record import Record

# Between two blows; how many of them are pauses; and how long these are: a processor's may outlast its session (10 s),
# so that another takes its partitions over and it comes back as one who is fenced.
EVERY_S = (3.0, 10.0)
PAUSES = 0.3
PROCESSOR_PAUSE_S = (0.5, 14.0)
GATEWAY_PAUSE_S = (0.5, 5.0)


@dataclass(frozen=True, slots=True)
class Blow:
    """`kind` is `SIGKILL` or `SIGSTOP`; `at_s` after the first line; `pause_s` 0 for a kill."""

    at_s: float
    kind: str
    name: str
    pause_s: float = 0.0

    def __str__(self) -> str:
        for_s = f" for {self.pause_s:.1f} s" if self.pause_s else ""
        return f"{self.at_s:6.1f} s: {self.kind} {self.name}{for_s}"


class Killer:
    """Strikes until all lines have their outcome. `chance` draws who, when and how; `before` is called before each."""

    def __init__(
        self,
        pid_of: Callable[[str], int],
        names: Sequence[str],
        chance: random.Random,
        *,
        every_s: tuple[float, float] = EVERY_S,
        before: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.blows: list[Blow] = []
        self._pid_of = pid_of
        self._names = list(names)
        self._chance = chance
        self._every_s = every_s
        self._before = before
        self._say = say
        self._killed: dict[str, int] = {}
        self._paused: set[str] = set()

    async def __call__(self, record: Record) -> None:
        """Strike now and then; whatever ends this, nobody stays paused."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as pauses:
            while not await _over(record, self._chance.uniform(*self._every_s)):
                blow = self._draw(time.monotonic() - began)
                if blow is None or (pid := self._strike(blow)) is None:
                    continue
                self.blows.append(blow)
                self._say(str(blow))
                if blow.pause_s:
                    pauses.create_task(self._pause(record, blow, pid))

    def counts(self) -> Counter[tuple[str, str]]:
        """Blows by kind and by kind of process."""
        return Counter((blow.kind, blow.name.partition("-")[0]) for blow in self.blows)

    def _draw(self, at_s: float) -> Blow | None:
        free = [name for name in self._names if name not in self._paused]
        if not free:
            return None
        name = self._chance.choice(free)
        if self._chance.random() >= PAUSES:
            return Blow(at_s, "SIGKILL", name)
        length = PROCESSOR_PAUSE_S if name.startswith("processor") else GATEWAY_PAUSE_S
        return Blow(at_s, "SIGSTOP", name, self._chance.uniform(*length))

    def _strike(self, blow: Blow) -> int | None:
        """The pid that was struck; None if the name has no new process yet."""
        with suppress(OSError, ValueError):
            pid = self._pid_of(blow.name)
            if pid == self._killed.get(blow.name):
                return None
            self._before()
            os.kill(pid, signal.SIGSTOP if blow.pause_s else signal.SIGKILL)
            if blow.pause_s:
                self._paused.add(blow.name)
            else:
                self._killed[blow.name] = pid
            return pid
        return None

    async def _pause(self, record: Record, blow: Blow, pid: int) -> None:
        try:
            await _over(record, blow.pause_s)
        finally:
            self._paused.discard(blow.name)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def _over(record: Record, within_s: float) -> bool:
    """Whether all lines have their outcome, waiting so long for it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await record.over.wait()
    return record.over.is_set()  # also where both came at once
