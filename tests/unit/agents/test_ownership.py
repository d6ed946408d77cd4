"""A worker's partitions: what a revocation in the middle of an opening must leave."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP

from agents import ownership as module
from agents.context import Context
from agents.flusher import ClosedError
from agents.ownership import Ownership
from agents.processor import _Processor
from app.config import Settings
from app.domain.events import UnknownKindError
from app.domain.evolve import SeqGapError
from app.kafka import topics
from app.kafka.topics import Layout
from app.log.records import RecordError
from tables.loader import BeyondEndError
from tables.stoppable import Stop, StoppedError
from tests.support.until import until


class Opened:
    """A partition as far as ownership knows it."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def left() -> list[Exception]:
    return []


@pytest.fixture
def ownership(left: list[Exception]) -> Ownership:
    class Shared:
        leave = staticmethod(left.append)

    return Ownership(cast("Context", Shared()), lambda number: cast("Any", (None, None)))


async def test_what_is_opened_is_owned_until_it_is_closed(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Opened] = []

    async def opening(*_: object, **__: object) -> Opened:
        made.append(Opened())
        return made[-1]

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0, 1}, lambda: True)
    assert ownership.get(1) is not None
    await ownership.close()
    assert [each.closed for each in made] == [True, True]
    assert ownership.get(1) is None
    assert not left


async def test_a_revocation_while_opening_is_seen_before_anything_is_installed(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    answers: list[bool] = []

    async def opening(*_: object, still_ours: Any, **__: object) -> Opened:
        begun.set()
        await go.wait()
        answers.append(still_ours())
        raise ConnectionError("taken away")

    monkeypatch.setattr(module, "open_partition", opening)
    opened = asyncio.create_task(ownership.open({0}, lambda: True))  # the generation has not changed yet
    await begun.wait()
    await ownership.close()
    go.set()
    await opened
    assert answers == [False]
    assert ownership.get(0) is None
    assert not left


async def test_an_opening_that_fails_leaves_the_process(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opening(*_: object, **__: object) -> Opened:
        raise ConnectionError("the broker")

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0}, lambda: True)
    assert [str(why) for why in left] == ["the broker"]


DATA_FAULTS = [
    BeyondEndError("the log was lost"),
    UnknownKindError("message.sung"),
    RecordError("neither event nor claim"),
    SeqGapError("g: 3 after 1"),
    msgspec.ValidationError("no event"),
]


@pytest.mark.parametrize("fault", DATA_FAULTS, ids=lambda f: type(f).__name__)
async def test_what_is_wrong_with_one_partitions_data_stops_that_one_and_is_said(
    ownership: Ownership,
    left: list[Exception],
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
) -> None:
    async def opening(_: object, number: int, *__: object, **___: object) -> Opened:
        if number == 1:
            raise fault
        return Opened()

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0, 1, 2}, lambda: True)
    assert [ownership.get(n) is not None for n in (0, 1, 2)] == [True, False, True]
    assert ownership.stopped == {1: f"{type(fault).__name__}: {fault}"}
    assert not left


async def test_a_partition_that_is_found_at_fault_while_it_serves_is_closed_and_says_why(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened()

    async def opening(*_: object, **__: object) -> Opened:
        return opened

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0}, lambda: True)
    ownership.stop(0, BeyondEndError("lost"))
    assert (ownership.get(0), ownership.stopped) == (None, {0: "BeyondEndError: lost"})
    await ownership.close()
    assert (opened.closed, left) == (True, [])


async def test_a_revocation_stops_the_writing_of_what_still_opens(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stops = asyncio.Event(), []

    async def opening(*_: object, stop: Stop, **__: object) -> Opened:
        stops.append(stop)
        begun.set()
        while not stop.is_set():
            await asyncio.sleep(0)
        raise StoppedError

    monkeypatch.setattr(module, "open_partition", opening)
    task = asyncio.create_task(ownership.open({0}, lambda: True))
    await begun.wait()
    await ownership.close()
    await task
    assert [stop.is_set() for stop in stops] == [True]
    assert (ownership.get(0), ownership.stopped, left) == (None, {}, [])


async def test_a_stopped_partition_is_tried_again_with_the_next_assignment(
    ownership: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [UnknownKindError("message.sung")]

    async def opening(*_: object, **__: object) -> Opened:
        if faults:
            raise faults.pop()
        return Opened()

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0}, lambda: True)
    assert 0 in ownership.stopped
    await ownership.close()  # revoked
    assert not ownership.stopped
    await ownership.open({0}, lambda: True)
    assert ownership.get(0) is not None
    assert not ownership.stopped


async def test_a_fault_that_a_revocation_overtook_stops_nothing(
    ownership: Ownership, left: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opening(*_: object, **__: object) -> Opened:
        await ownership.close()
        raise UnknownKindError("message.sung")

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0}, lambda: True)
    assert not ownership.stopped
    assert not left


async def test_a_partition_that_is_lost_and_regained_is_opened_anew(
    ownership: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Opened] = []

    async def opening(*_: object, **__: object) -> Opened:
        made.append(Opened())
        return made[-1]

    monkeypatch.setattr(module, "open_partition", opening)
    await ownership.open({0, 1}, lambda: True)
    await ownership.open({1}, lambda: True)  # another has 0
    assert ownership.get(0) is None
    await ownership.open({0, 1}, lambda: True)
    assert cast("Any", ownership.get(0)) is made[3]
    assert cast("Any", ownership.get(1)) is made[4]
    assert [each.closed for each in made] == [True, True, True, False, False]


async def test_a_partition_is_not_given_while_another_opening_of_it_runs(
    ownership: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = asyncio.Event()

    async def opening(*_: object, **__: object) -> Opened:
        await go.wait()
        return Opened()

    monkeypatch.setattr(module, "open_partition", opening)
    first = Opened()
    ownership._partitions[0] = cast("Any", first)  # what was served before
    opened = asyncio.create_task(ownership.open({0}, lambda: True))
    await until(lambda: first.closed)
    assert ownership.get(0) is None
    go.set()
    await opened
    assert ownership.get(0) is not None


@pytest.mark.parametrize("newer", [False, True])
async def test_the_recovery_hook_installs_nothing_once_there_is_a_newer_generation(
    left: list[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, newer: bool
) -> None:
    monkeypatch.setattr(_Processor, "_leave", lambda self, why: left.append(why))
    settings = Settings(data=tmp_path, kafka_bootstrap="127.0.0.1:1")
    processor = _Processor(settings, Layout(partitions=1, log_id="l", commands_topic_id="c"), port=1)
    processor.app.consumer_generation_id = 7

    async def opening(*_: object, still_ours: Callable[[], bool], **__: object) -> Opened:
        if newer:
            processor.app.consumer_generation_id = 8  # a rebalance, of which no revocation has been seen yet
        if not still_ours():
            raise ClosedError("taken away")
        return Opened()

    monkeypatch.setattr(module, "open_partition", opening)
    nowhere = cast("Any", (None, None))
    shared = Context(
        settings, cast("Any", None), *nowhere, "http://here", processor._leave, processor._stop_one, processor._rewind
    )
    processor._ownership = Ownership(shared, lambda number: nowhere)
    await processor._open({0})
    assert (processor._owned_partition(0) is None) == newer
    assert not left


async def test_commands_of_a_stopped_partition_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, kafka_bootstrap="127.0.0.1:1")
    processor = _Processor(settings, Layout(partitions=2, log_id="l", commands_topic_id="c"), port=1)
    commands = [TP(topics.COMMANDS, n) for n in (0, 1)]
    assert not any(processor.app.withholds(tp) for tp in commands)
    processor._ownership = Ownership(cast("Any", None), cast("Any", None))
    processor._ownership.stopped[1] = "why"
    assert [processor.app.withholds(tp) for tp in commands] == [False, True]
    # Our loader reads these, and no other topic is subscribed.
    assert all(processor.app.withholds(TP(name, 0)) for name in topics.changelogs(settings.app_id).values())
