"""kill -9 between each pair of steps of design §4: nothing is lost, doubled or skipped, and the tables are the fold.

One broker and one chain of processors: each is the restart of the one that a test before has killed.
"""

import shutil
from collections.abc import Callable, Iterator

import pytest

from app.domain.commands import Command, CreateGroup, Join, Leave, RemoveMember, Send
from tests.support.audit import Ledger, Witness, begin
from tests.support.driver import ORIGIN, Driver
from tests.support.sabotage import FLUSHING, OPENING, SERVING, Processor

PARTITIONS = 2


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    return begin(module_broker, PARTITIONS)


@pytest.fixture(scope="module")
def processor(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    """Runs and serves when a test gets it, and must when the test is over."""
    running = Processor(driver.bootstrap, tmp_path_factory.mktemp("processor"))
    running.start_and_wait(driver)
    yield running
    running.kill()


@pytest.fixture(scope="module")
def witness(driver: Driver) -> Iterator[Witness]:
    seeing = Witness(driver)
    yield seeing
    seeing.close()


@pytest.fixture
def ledger(witness: Witness) -> Ledger:
    return Ledger(witness)


class Load:
    """Commands of four groups: accepted ones, refused ones, repetitions, alone and in arrays."""

    def __init__(self, ledger: Ledger, new_group: Callable[[], str]) -> None:
        self._ledger = ledger
        self._driver = ledger.driver
        self.groups = [new_group() for _ in range(4)]
        for group in self.groups:
            ledger.send(CreateGroup(**self._by("olga", group), name=group, join="open"))

    def send(self, rounds: range) -> None:
        """A round is some ten records."""
        for n in rounds:
            for group in self.groups:
                self._ledger.send(
                    self._post(group, f"{n}"),
                    self._post(group, f"{n}", user="stranger"),
                    self._post(group, f"{n}"),  # again, with the same key
                    Join(**self._by(f"user-{n}", group)),
                )
                self._ledger.send(self._post(group, f"{n}+", user=f"user-{n}"))
                self._ledger.send(
                    self._post(group, f"{n}"),
                    Leave(**self._by(f"user-{n}", group)),
                    RemoveMember(**self._by("olga", group), user="zoe", ban=True),
                    self._post(group, f"{n}++"),
                )

    def _by(self, user: str, group: str) -> dict[str, str]:
        return {"id": f"{group}:{self._driver.next_id()}", "group": group, "by": user, "origin": ORIGIN}

    def _post(self, group: str, text: str, user: str = "olga") -> Command:
        return Send(**self._by(user, group), client_msg_id=f"{user}/{text}", text=text)


def lose_disk(processor: Processor) -> None:
    shutil.rmtree(processor.data / "tables")


def assert_whole(ledger: Ledger, processor: Processor) -> None:
    """Nothing is lost, doubled or skipped; and only what was behind the restart's position is of unknown outcome."""
    assert ledger.audit() == []
    places, decided = ledger.witness.places(), processor.decided()
    for command in ledger.witness.unknown() & set(ledger.decisions):
        partition = ledger.driver.partition(command.split(":")[0])
        assert places[command].offset <= max(decided[partition]), f"{command}: unknown, and not decided before"


@pytest.mark.parametrize(
    ("step", "count"),
    [(step, 5) for step in SERVING] + [(step, 1) for step in FLUSHING],
)
def test_a_kill_while_serving(
    ledger: Ledger, processor: Processor, new_group: Callable[[], str], step: str, count: int
) -> None:
    load = Load(ledger, new_group)
    processor.kill_at(step, 1 if "commit" in step else count)
    load.send(range(3))
    ledger.driver.flush()
    processor.wait_killed()
    load.send(range(3, 5))
    processor.start_and_wait(ledger.driver)
    assert_whole(ledger, processor)


@pytest.mark.parametrize("step", ["rows are reported and no position is sent", "one table's position is reported"])
def test_a_kill_while_flushing_and_a_lost_disk(
    ledger: Ledger, processor: Processor, new_group: Callable[[], str], step: str
) -> None:
    load = Load(ledger, new_group)
    processor.kill_at(step)
    load.send(range(2))
    ledger.driver.flush()
    processor.wait_killed()
    lose_disk(processor)
    processor.start_and_wait(ledger.driver)
    assert_whole(ledger, processor)


@pytest.mark.parametrize("step", OPENING)
def test_a_kill_while_opening(ledger: Ledger, processor: Processor, new_group: Callable[[], str], step: str) -> None:
    load = Load(ledger, new_group)
    processor.kill_at("a flush writes nothing yet")
    load.send(range(3))
    ledger.driver.flush()
    processor.wait_killed()  # so there are events to fold, and commands to decide
    load.send(range(3, 4))
    lose_disk(processor)  # and rows to load
    processor.kill_at(step)
    processor.start(small=True)
    processor.wait_killed()
    processor.start_and_wait(ledger.driver)
    assert_whole(ledger, processor)
