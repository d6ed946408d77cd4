"""What a gateway has to report of one partition, and how far its owner has heard it (docs/adr/025)."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

from app.presence import HEARTBEAT_S, Change, Report, Word

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
STEPS = 8  # of one user, between two reports: who comes, goes or opens a channel more often is told of as so many

# Of whom: the group and the user.
Key = tuple[str, str]
# Whether the user is here since, and the legacy channel opened last.
Step = tuple[bool, str | None]


@dataclass(slots=True, frozen=True)
class Home:
    """Who owns a partition: another one, or the same one again under a new claim, knows nobody."""

    url: str
    epoch: int


@dataclass(slots=True)
class Way:
    """The way to one partition's owner: a state that is told, and no queue.

    `here`: who is online here, with the legacy channel opened last. `changed`: of whom the owner has not heard yet,
    with the last steps that brought them where they are: who came and is gone already was here. `heard`: the number of
    the report that the owner applied last; with 0 it is to be told the whole state.
    """

    partition: int
    here: dict[Key, str | None] = field(default_factory=dict)
    changed: dict[Key, tuple[Step, ...]] = field(default_factory=dict)
    home: Home | None = None
    heard: int = 0
    heard_at: float = 0.0
    retry_at: float = 0.0
    _number: int = 0
    _parts: deque[Key] | None = None  # of the whole state, those that are still to be told
    _flight: Report | None = None
    _sent_at: float = 0.0
    _pause_s: float = FIRST_PAUSE_S
    _asked: list[asyncio.Future[None]] = field(default_factory=list)
    _covered: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether the owner knows who is here, or nobody is and it has heard so."""
        return not (self.changed or self._flight or self._parts is not None or (self.here and not self.heard))

    def change(self, key: Key) -> None:
        """A user came, went, or opened a channel, and `here` says so: the owner is to hear of it."""
        step = (key in self.here, self.here.get(key))
        self.changed[key] = (*self.changed.get(key, ()), step)[-STEPS:]

    def move(self, home: Home) -> None:
        """The partition's owner is `home` now."""
        if home != self.home:
            self.home = home
            self._forget()
            self.retry_at, self._pause_s = 0.0, FIRST_PAUSE_S

    def due_at(self) -> float:
        """When there is something to report; infinite if nothing will be."""
        if self.home is None or (self.settled and not self.here):
            return float("inf")
        return self.retry_at if not self.settled else max(self.retry_at, self.heard_at + HEARTBEAT_S)

    def next_report(self, room: int, now: float) -> Report:
        """What is to be reported, at most `room` changes: the same report until it is heard."""
        self._sent_at = now
        if self._flight is not None:
            return self._flight
        if not self.heard and self._parts is None:
            self.changed = {
                key: steps
                for key, steps in self.changed.items()
                if key in self.here or any(is_here for is_here, _ in steps)
            }
            self._parts = deque({**self.here, **dict.fromkeys(self.changed)})
        since, self._number = self.heard, self._number + 1
        waiting = self.changed if self._parts is None else self._parts
        changes: list[Change] = []
        while waiting and len(changes) < room:
            key = self._parts.popleft() if self._parts is not None else next(iter(self.changed))
            steps = self.changed.pop(key, ())
            changes += [Change(*key, online=is_here, channel=channel) for is_here, channel in steps[:-1]]
            changes.append(Change(*key, online=key in self.here, channel=self.here.get(key)))
        self._flight = Report(
            partition=self.partition, since=since, number=self._number, last=not self._parts, changes=changes
        )
        if not waiting and not self.changed:
            self._covered += self._asked
            self._asked = []
        return self._flight

    def farewell(self) -> Report:
        """A last report: nobody is here."""
        self._number += 1
        return Report(partition=self.partition, since=0, number=self._number)

    def on_word(self, report: Report, word: Word, now: float) -> None:
        """The owner answered `report`."""
        if report is not self._flight:
            return  # the owner has changed since
        if word == "ok":
            self._flight = None
            self.heard, self.heard_at, self._pause_s = report.number, self._sent_at, FIRST_PAUSE_S
            if report.last:
                self._parts = None
            self._tell_heard()
            if not self.here and self.settled:
                self.heard = 0  # no heartbeats for nobody: the next one who comes is a whole state
            return
        if word == "again":
            self._forget()
        self._pause(now)

    def on_failure(self, report: Report, now: float) -> None:
        """The owner could not be reached: the same report later."""
        if report is self._flight:
            self._pause(now)

    def ask(self) -> asyncio.Future[None] | None:
        """What is done when the owner has heard all that is here now; None if it has."""
        if self.settled:
            return None
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = [each for each in self._asked if not each.done()]
        self._asked.append(asked)
        return asked

    def _pause(self, now: float) -> None:
        self.retry_at = now + self._pause_s * random.uniform(0.5, 1)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _tell_heard(self) -> None:
        heard, self._covered = self._covered, []
        if self.settled:
            heard += self._asked
            self._asked = []
        for each in heard:
            if not each.done():
                each.set_result(None)

    def _forget(self) -> None:
        """The owner does not hold what was told."""
        self.heard, self._parts, self._flight = 0, None, None
        self._asked += self._covered
        self._covered = []
