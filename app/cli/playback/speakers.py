"""The speakers' sockets: one a speaker and group, so many at once; who has been silent longest is closed first."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from auerbach_client import Client

Key = tuple[str, str]

_OPENING_AT_ONCE = 32


@dataclass(slots=True)
class _Seat:
    """A socket: opened by the task, used by so many at the moment."""

    opening: asyncio.Task[Client]
    busy: int = 0


class Speakers:
    """Clients by (group, user), at most `limit` open, for `async with`."""

    def __init__(self, make: Callable[[str], Client], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._seats: OrderedDict[Key, _Seat] = OrderedDict()
        self._freed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seats = list(self._seats.values())
        self._seats.clear()
        await asyncio.gather(*(_leave(seat) for seat in seats))

    async def seat(self, keys: Iterable[Key]) -> int:
        """Open the sockets of the first `limit` of `keys`, ahead of need; how many.

        Raises:
            EndedError: the service does not take one of them.
        """
        wanted = list(keys)[: self._limit]
        doors = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def open_one(key: Key) -> None:
            async with doors, self.speaking(*key):
                pass

        await asyncio.gather(*(open_one(key) for key in wanted))
        return len(wanted)

    @asynccontextmanager
    async def speaking(self, group: str, user: str) -> AsyncIterator[Client]:
        """The speaker's client, kept open at least until left; waits while `limit` are in use.

        Raises:
            EndedError: the service does not take this user.
        """
        seat = await self._take((group, user))
        try:
            yield await asyncio.shield(seat.opening)
        finally:
            seat.busy -= 1
            if seat.busy == 0:
                async with self._freed:
                    self._freed.notify_all()

    async def _take(self, key: Key) -> _Seat:
        silent = None
        async with self._freed:
            while key not in self._seats and len(self._seats) >= self._limit:
                silent = next((each for each, seat in self._seats.items() if seat.busy == 0), None)
                if silent is not None:
                    break
                await self._freed.wait()
            left = self._seats.pop(silent) if silent is not None else None
            if key not in self._seats:
                self._seats[key] = _Seat(asyncio.create_task(_enter(self._make(key[1]))))
            seat = self._seats[key]
            self._seats.move_to_end(key)
            seat.busy += 1
        if left is not None:
            await _leave(left)
        return seat


async def _enter(client: Client) -> Client:
    return await client.__aenter__()


async def _leave(seat: _Seat) -> None:
    """Close a socket; one that never opened has told its speakers so."""
    await asyncio.wait({seat.opening})
    if not seat.opening.cancelled() and seat.opening.exception() is None:
        await seat.opening.result().aclose()
