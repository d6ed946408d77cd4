"""A processor in a process of its own that is killed at a named step, holds a step, or lacks a named rule.

`python -m tests.support.sabotage processor …` is `python -m app processor …` with patches made before the app runs:
`RULES_OFF` names the rules to switch off, and the file `ARMS` holds what is to happen from now on, a line each:
`kill STEP COUNT` (kill -9 itself when the step is reached for the COUNTth time since the line was written),
`hold TOPIC` (keep the records of that topic back until the line is gone; each is printed: `held TOPIC`) or `hurry`
(what is under way ages `HURRY` times as fast). Tests arm a process that runs already.
"""

import functools
import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tests.support.driver import Driver
from tests.support.processors import SESSION_S
from tests.support.stack import STOP_S, clean_environment
from tests.support.waiting import eventually

KILLED = -signal.SIGKILL
FENCED = 70
START_S = 90
EXIT_S = 90
HURRY = 15
# Small, so that few records take several rounds through each step.
SMALL = {"tables.loader:BATCH_ROWS": 3, "agents.opening:FOLD_RECORDS": 5, "tables.write_behind:APPEND_ROWS": 7}


@dataclass(frozen=True)
class Step:
    """A point in the product: before or after a function, as far as `only` holds of its arguments."""

    place: str
    when: Literal["before", "after"]
    only: Callable[..., bool] = lambda *_, **__: True


def _position(_: Any, changes: list[tuple[bytes, bytes | None]]) -> bool:
    return bool(changes) and changes[0][0] == b"\x00position"


def _rows(_: Any, changes: list[tuple[bytes, bytes | None]]) -> bool:
    return bool(changes) and changes[0][0] != b"\x00position"


_LOG, _CHANGELOG, _OPENING = "agents.event_log:EventLog", "tables.write_behind:TableChangelog", "agents.opening:Opening"

SERVING = {
    "an event is decided and not produced": Step(f"{_LOG}.append", "before"),
    "an event is queued": Step(f"{_LOG}.send", "after"),
    "an event is on disk and its report not taken": Step(f"{_LOG}._take_reports", "before"),
    "an event is reported and its command not acknowledged": Step("agents.in_flight:InFlight.end", "before"),
    "commands are acknowledged and not committed": Step("agents.transport:Consumer._commit", "before"),
    "commands are committed": Step("agents.transport:Consumer._commit", "after"),
    "a reply is decided and not sent": Step("agents.answers:Answers.reply", "before"),
    "a reply is queued": Step("agents.answers:Answers._produce_keyed", "after"),
}
FLUSHING = {
    "a flush writes nothing yet": Step("tables.write_behind:WriteBehind.flush", "before"),
    "rows are sent and not reported": Step(f"{_CHANGELOG}._send", "after", _rows),
    "one table's rows are reported": Step(f"{_CHANGELOG}.append", "after", _rows),
    "rows are reported and no position is sent": Step(f"{_CHANGELOG}.append", "before", _position),
    "a position is sent and not reported": Step(f"{_CHANGELOG}._send", "after", _position),
    "one table's position is reported": Step(f"{_CHANGELOG}.append", "after", _position),
    "positions are reported and RocksDB is behind": Step(f"{_CHANGELOG}.store", "before"),
    "one table's RocksDB is written": Step(f"{_CHANGELOG}.store", "after"),
    "a flush is over and nothing is committed": Step("tables.write_behind:WriteBehind.flush", "after"),
}
OPENING = {
    "a part of a changelog is loaded": Step("tables.store:RocksStore.write", "after"),
    "the log is claimed": Step(f"{_OPENING}._claim", "after"),
    "one changelog is claimed": Step(f"{_CHANGELOG}.claim", "after"),
    "all is claimed": Step(f"{_OPENING}._claim_changelogs", "after"),
    "a part of the log is folded": Step(f"{_OPENING}._fold", "after"),
    "what was folded is written": Step(f"{_CHANGELOG}.store", "after"),
    "all is folded and nothing is served": Step("agents.partition:Partition.__init__", "before"),
    "gateways are told and nothing is served": Step("agents.partition:Partition.__init__", "after"),
}
STEPS = SERVING | FLUSHING | OPENING


class Processor:
    """One processor that can be sabotaged, with a data folder of its own."""

    def __init__(self, bootstrap: str, data: Path, slot: str = "processor-0", **settings: str) -> None:
        self.data = data
        self.slot = slot
        self._arms = data / "arms"
        environment = {"AUERBACH_SESSION_TIMEOUT_S": SESSION_S, **settings}
        self._env = clean_environment(KAFKA_BOOTSTRAP=bootstrap, DATA=str(data), ARMS=str(self._arms), **environment)
        self._starts = itertools.count()
        self._output = data / "none"
        self._process: subprocess.Popen[bytes] | None = None
        data.mkdir(parents=True, exist_ok=True)

    def start(self, *, off: tuple[str, ...] = (), small: bool = False) -> None:
        """Start it without waiting; `off` names rules that it lacks, `small` makes rounds of a few records."""
        self._output = self.data / f"start-{next(self._starts)}.out"
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.sabotage", "processor", "--worker", self.slot],
                env={**self._env, "RULES_OFF": json.dumps(off), "SMALL": "1" if small else ""},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_open(self, partitions: int) -> None:
        """Wait until it serves `partitions` partitions."""

        def opened() -> bool:
            assert self.exit_code() is None, f"ended with {self.exit_code()}:\n{self.printed()}"
            return self.serves(partitions)

        eventually(opened, within_s=START_S, what=f"{self.slot} serves {partitions} partitions")

    def serves(self, partitions: int) -> bool:
        """Whether it has opened so many partitions since its last start."""
        return self.printed().count('"event": "partition open"') >= partitions

    def start_and_wait(self, driver: Driver, **how: Any) -> None:
        """Start it and wait until it serves all partitions."""
        self.start(**how)
        self.wait_open(driver.layout.partitions)

    def arm(self, *lines: str) -> None:
        """What is to happen from now on (the module says how); nothing where no line is given."""
        new = self._arms.with_suffix(".new")
        new.write_text("\n".join(lines))
        new.rename(self._arms)

    def wait_held(self, topic: str, count: int) -> None:
        """Wait until it has held back so many records of a topic since its last start."""

        def look() -> bool:
            assert self.exit_code() is None, f"ended with {self.exit_code()}:\n{self.printed()}"
            return self.printed().count(f"held {topic}\n") >= count

        eventually(look, within_s=EXIT_S, what=f"{self.slot} holds {count} records of {topic}")

    def kill_at(self, step: str, count: int = 1) -> None:
        """kill -9 when it reaches `step` for the `count`th time from now on."""
        assert step in STEPS
        self.arm(f"kill {step} {count}")

    def wait_killed(self, within_s: float = EXIT_S) -> None:
        """Wait until it has killed itself, and disarm."""
        code = self.wait_exit(within_s)
        assert code == KILLED, f"ended with {code}:\n{self.printed()}"
        self.arm()

    def wait_exit(self, within_s: float = EXIT_S) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {within_s} s:\n{self.printed()}") from None

    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll() if self._process is not None else 0

    def signal(self, number: signal.Signals) -> None:
        """Signal it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, whatever it is doing."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_S)

    def printed(self) -> str:
        """All that it has printed since its last start."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def decided(self) -> dict[int, list[int]]:
        """The offset up to which commands were decided when it opened each partition, of all its starts."""
        found: dict[int, list[int]] = defaultdict(list)
        for output in self.data.glob("start-*.out"):
            for line in output.read_text(errors="replace").splitlines():
                if '"event": "partition open"' in line:
                    said = json.loads(line)
                    found[said["partition"]].append(said["decided"])
        return found


# What runs inside the process.


class _Arms:
    """The armed lines, and how often each step was reached since they were written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._lines: list[str] = []
        self._reached: dict[str, int] = {}
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return []
        if (seen := (found.st_ino, found.st_mtime_ns)) != self._seen:
            self._seen, self._lines, self._reached = seen, self._path.read_text().splitlines(), {}
        return self._lines

    def reach(self, step: str) -> None:
        with self._lock:
            for line in self.lines():
                word, _, rest = line.partition(" ")
                name, _, count = rest.rpartition(" ")
                if word == "kill" and name == step:
                    self._reached[step] = self._reached.get(step, 0) + 1
                    if self._reached[step] == int(count):
                        os.kill(os.getpid(), signal.SIGKILL)

    def held(self, topic: str) -> bool:
        return f"hold {topic}" in self.lines()

    def hurried(self) -> bool:
        return "hurry" in self.lines()


def _find(place: str) -> tuple[Any, str]:
    """The object and the attribute that `module:Class.name` or `module:NAME` names."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, import_module(module)), name


def _watched(function: Callable[..., Any], name: str, step: Step, arms: _Arms) -> Callable[..., Any]:
    @contextmanager
    def around(*args: Any, **kwargs: Any) -> Iterator[None]:
        counts = step.only(*args, **kwargs)
        if counts and step.when == "before":
            arms.reach(name)
        yield
        if counts and step.when == "after":
            arms.reach(name)

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with around(*args, **kwargs):
            return function(*args, **kwargs)

    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with around(*args, **kwargs):
            return await function(*args, **kwargs)

    return coroutine if inspect.iscoroutinefunction(function) else plain


def _hold_back(arms: _Arms) -> None:
    """Make the producer keep the records of held topics, in their order, until they are released."""
    from app.kafka.producer import Producer

    produce = Producer.produce
    kept: dict[str, deque[Callable[[], None]]] = {}

    def holding(self: Producer, topic: str, partition: int, **fields: Any) -> None:
        queue = kept.setdefault(topic, deque())
        if not queue and not arms.held(topic):
            produce(self, topic, partition, **fields)
            return
        queue.append(lambda: produce(self, topic, partition, **fields))
        print(f"held {topic}", flush=True)
        if len(queue) == 1:
            self._loop.call_later(0.02, release, self, topic)

    def holding_all(self: Producer, topic: str, partition: int, records: Any, report: Any = None) -> None:
        for n, (key, value) in enumerate(records, 1):
            holding(self, topic, partition, key=key, value=value, report=report if n == len(records) else None)

    def release(self: Producer, topic: str) -> None:
        if arms.held(topic):
            self._loop.call_later(0.02, release, self, topic)
            return
        while kept[topic]:
            kept[topic].popleft()()

    Producer.produce = holding  # type: ignore[method-assign]
    Producer.produce_all = holding_all  # type: ignore[method-assign]


def _hurry(arms: _Arms) -> None:
    """Let the deadline of deliveries come soon, from when a test asks for it: no pause of the machine before is one."""
    from agents.in_flight import InFlight

    age_s = InFlight.age_s

    def hurried(self: InFlight) -> float:
        return age_s(self) * (HURRY if arms.hurried() else 1)

    InFlight.age_s = hurried  # type: ignore[method-assign]


def main() -> None:
    """Patch, then run the app's command line."""
    from app.cli.main import main as app_main
    from tests.support.rules import switch_off

    arms = _Arms(Path(os.environ["ARMS"]))
    for name, step in STEPS.items():
        owner, attribute = _find(step.place)
        setattr(owner, attribute, _watched(getattr(owner, attribute), name, step, arms))
    if os.environ.get("SMALL"):
        for place, value in SMALL.items():
            setattr(*_find(place), value)
    for rule in json.loads(os.environ.get("RULES_OFF", "[]")):
        switch_off(rule, setattr)
    _hold_back(arms)
    _hurry(arms)
    app_main()


if __name__ == "__main__":
    main()
