"""Waiting for a condition within a running loop, with a deadline."""

import asyncio
from collections.abc import Callable


async def until(look: Callable[[], object], within_s: float = 10) -> None:
    """Let the loop run until `look` gives something true; fails when that is not in time."""
    async with asyncio.timeout(within_s):
        while not look():
            await asyncio.sleep(0.002)
