"""Waiting for a condition within a running loop, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.support.waiting import STALL_S

T = TypeVar("T")


async def until(look: Callable[[], object], within_s: float = 30) -> None:
    """Let the loop run until `look` gives something true; fails when that is not in time."""
    waited_s = 0.0
    while not look():
        if waited_s >= within_s:
            raise TimeoutError(f"not within {within_s} s")
        began = time.monotonic()
        await asyncio.sleep(0.002)
        waited_s += min(time.monotonic() - began, STALL_S)


async def until_answer(ask: Callable[[], Awaitable[T]], within_s: float = 60) -> T:
    """The first true answer of `ask`, which is asked again and again; fails when there is none in time."""
    waited_s = 0.0
    while True:
        began = time.monotonic()
        answer = await ask()
        if answer:
            return answer
        if waited_s >= within_s:
            raise TimeoutError(f"not within {within_s} s (last answer: {answer!r})")
        await asyncio.sleep(0.05)
        waited_s += min(time.monotonic() - began, STALL_S)
