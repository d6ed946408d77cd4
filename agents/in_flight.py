"""What has been decided and is not on disk yet, in the order of deciding."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic


class InFlight:
    """Tickets of commands under way: begun when decided, ended when their event or reply is delivered."""

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[int, float] = {}
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def begin(self) -> int:
        """A ticket for one more command."""
        ticket = self._next
        self._next += 1
        self._open[ticket] = monotonic()
        return ticket

    def end(self, ticket: int) -> None:
        """The command of `ticket` is settled."""
        del self._open[ticket]
        first = next(iter(self._open), self._next)
        while self._waiters and self._waiters[0][0] <= first:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def age_s(self) -> float:
        """How long the oldest open ticket has been open, seconds; 0 if none is."""
        begun = next(iter(self._open.values()), None)
        return 0.0 if begun is None else monotonic() - begun

    def __len__(self) -> int:
        return len(self._open)

    async def settled(self) -> None:
        """Wait until all that was begun before now has ended; later ones do not prolong it."""
        if not self._open:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._next, waiter))
        await waiter

    def abandon(self, why: Exception) -> None:
        """Nothing will be settled any more: who waits gets `why`."""
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(why)


class InOrder:
    """Acknowledgements in the order of reading, in whatever order the records settle.

    Faust commits behind what was acknowledged, and its check for a record that is missing before it lets one through:
    acknowledged out of order, a command could be passed over after a crash (model.md H11).
    """

    def __init__(self) -> None:
        self._dues: deque[_Due] = deque()

    def begin(self, done: Callable[[], None]) -> Callable[[], None]:
        """One more record is read; what to call, once, when it is settled. `done` follows in order."""
        due = _Due(done)
        self._dues.append(due)

        def settled() -> None:
            due.settled = True
            while self._dues and self._dues[0].settled:
                self._dues.popleft().done()

        return settled


class _Due:
    __slots__ = ("done", "settled")

    def __init__(self, done: Callable[[], None]) -> None:
        self.done = done
        self.settled = False
