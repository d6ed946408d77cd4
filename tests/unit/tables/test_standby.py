"""Standing by without a broker: which consumer looks, and how long it is kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.kafka import consumer
from app.kafka.consumer import ReadError
from tables import loader
from tables import standby as module
from tables.loader import Loaded
from tables.standby import Standby
from tests.support.memory_store import MemoryStore
from tests.support.until import until


class Looks:
    """What is asked of a broker that fails the looks whose numbers are in `failing`."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.by: list[int] = []  # which consumer looked
        self.closed: list[int] = []
        self.made = 0

    @contextmanager
    def reader(self, _bootstrap: str) -> Iterator["FakeReader"]:
        self.made += 1
        mine = FakeReader(self.made)
        yield mine
        self.closed.append(mine.number)

    def load(self, reader: "FakeReader", *_: object) -> Loaded:
        self.by.append(reader.number)
        reader.assigned = True
        if len(self.by) in self.failing:
            raise ReadError("the broker is away")
        return Loaded()


class FakeReader:
    """A consumer, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.assigned = False

    def unassign(self) -> None:
        self.assigned = False


async def stand_by(looks: Looks, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until so many looks are over, each at one partition."""
    monkeypatch.setattr(consumer, "reader", looks.reader)
    monkeypatch.setattr(loader, "load_with", looks.load)
    monkeypatch.setattr(module, "STOP_S", 60)  # what is asserted is so when its thread has ended
    standby = Standby("nowhere", "changelog", [0], lambda _: MemoryStore(), every_s=0.001)
    standby.start()
    await until(lambda: len(looks.by) >= count)
    await standby.stop()


async def test_one_consumer_looks_for_as_long_as_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()

    await stand_by(looks, 5, monkeypatch)

    assert set(looks.by) == {1}
    assert looks.closed == [1]


async def test_who_was_not_answered_looks_again_with_a_new_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(2)

    await stand_by(looks, 4, monkeypatch)

    assert looks.by[:4] == [1, 1, 2, 2]
    assert looks.closed == [1, 2]
