"""A worker's partitions: what a revocation in the middle of an opening must leave."""

import asyncio
from typing import Any, cast

import pytest

from agents import ownership as module
from agents.context import Context
from agents.ownership import Ownership


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
