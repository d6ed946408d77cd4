"""Waiting for a condition within a running loop, with a deadline."""

import asyncio
import time
from collections.abc import Callable

from tests.support.waiting import STALL_S


async def until(look: Callable[[], object], within_s: float = 30) -> None:
    """Let the loop run until `look` gives something true; fails when that is not in time."""
    waited_s = 0.0
    while not look():
        if waited_s >= within_s:
            raise TimeoutError(f"not within {within_s} s")
        began = time.monotonic()
        await asyncio.sleep(0.002)
        waited_s += min(time.monotonic() - began, STALL_S)
