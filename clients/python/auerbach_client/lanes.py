"""Turns: so many changing requests of one group are on their way at once, the others wait in the order of the calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Lane:
    """One group's turns, and how many have or want one."""

    turns: asyncio.Semaphore
    users: int = 0


class Lanes:
    """Lanes by group, each `width` wide; a lane is kept only while somebody is in it.

    With a width of 1 a group's requests take effect in the order of the calls whatever happens: with more, one that
    is refused for now is repeated behind others that were not.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    @asynccontextmanager
    async def turn(self, group: str | None) -> AsyncIterator[None]:
        """Wait for a turn in the group's lane, and have it; None waits for nobody."""
        if group is None:
            yield
            return
        lane = self._lanes.setdefault(group, _Lane(asyncio.Semaphore(self._width)))
        lane.users += 1
        try:
            async with lane.turns:
                yield
        finally:
            lane.users -= 1
            if lane.users == 0:
                del self._lanes[group]
