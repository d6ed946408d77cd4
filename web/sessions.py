"""All sockets of this gateway, of whichever protocol: their heartbeat and their drain."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from prometheus_client import Gauge

from web import metrics
from web.frames import HEARTBEAT_MS
from web.session import GOING_AWAY, Session

SLICE = 100  # sockets pinged or closed before the loop gets its turn
BETWEEN_SLICES_S = 0.01
IDLE_S = 0.5
# A drain ends so many sockets a second, unless it may not take so long: each comes back somewhere, all at once.
PER_SOCKET_S = 0.002
SPREAD_S = 10.0
SETTLE_S = 2.0  # for outcomes that are on their way when a socket is told
# How long clients are asked to wait before they come back.
SHORTEST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 30_000


class Open(Protocol):
    """An open socket."""

    def beat(self, now: float) -> None:
        """Its heartbeat is due at `now` (the loop's time)."""

    def bye(self, reconnect_after_ms: int) -> None:
        """This gateway drains: close as soon as what was asked is settled."""

    def stop(self, code: int) -> None:
        """Close with `code`."""

    def abort(self) -> None:
        """End the connection at once."""


S = TypeVar("S", bound=Open)


class Sockets(Generic[S]):
    """The open sockets of one kind. One sweep looks at them all: each is due again `every_s` after its last beat, so
    they are due in order.
    """

    every_s: float
    between_slices_s: float = BETWEEN_SLICES_S
    idle_s: float = IDLE_S
    gauge: Gauge

    def __init__(self) -> None:
        self._due: OrderedDict[S, float] = OrderedDict()  # all that are open, and when each is pinged next
        self._loop = asyncio.get_running_loop()
        self._on_late: Callable[[S], None] | None = None  # set when all are told to go
        self._gone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, session: S) -> None:
        """A socket was opened."""
        self._due[session] = self._loop.time() + self.every_s
        self.gauge.set(len(self._due))
        if self._on_late is not None:
            self._loop.call_soon(self._on_late, session)  # its handshake had begun before

    def remove(self, session: S) -> None:
        """A socket has ended."""
        self._due.pop(session, None)
        self.gauge.set(len(self._due))
        if not self._due:
            self._gone.set()

    async def run(self) -> None:
        """Ping until cancelled."""
        while True:
            pause_s = self.between_slices_s if self.sweep(self._loop.time()) else self.idle_s
            due = self._loop.time() + pause_s
            await asyncio.sleep(pause_s)
            metrics.LOOP_LAG_SECONDS.observe(max(0.0, self._loop.time() - due))

    def sweep(self, now: float) -> bool:
        """Ping a slice of those that are due at `now`; whether more may be due."""
        for _ in range(SLICE):
            session = next(iter(self._due), None)
            if session is None or self._due[session] > now:
                return False
            session.beat(now)
            self._due[session] = now + self.every_s
            self._due.move_to_end(session)
        return True

    async def drain(self, close_s: float, *, spread_s: float = SPREAD_S) -> None:
        """Say bye to all, one after another over at most `spread_s`, and wait until they are gone.

        A socket closes when what was asked on it is answered, `SETTLE_S` after the last was told at the latest. Who is
        left `close_s` later takes nothing, and is cut off.
        """
        wait_ms = min(max(SHORTEST_WAIT_MS, round(1000 * PER_SOCKET_S * len(self._due))), LONGEST_WAIT_MS)
        await self._tell(lambda session: session.bye(random.randrange(wait_ms)), spread_s)
        if not await self._all_gone(SETTLE_S):
            await self.close_all(GOING_AWAY, close_s)

    async def close_all(self, code: int, close_s: float) -> None:
        """Close all with `code`, as fast as the loop bears; who is left `close_s` later is cut off."""
        await self._tell(lambda session: session.stop(code), 0)
        if not await self._all_gone(close_s):
            for session in list(self._due):
                session.abort()

    async def _tell(self, tell: Callable[[S], None], spread_s: float) -> None:
        """Call `tell` with each, in any order, spread over `spread_s`, and soon with each that comes after that."""
        self._on_late = tell
        sessions = random.sample(list(self._due), len(self._due))
        pace_s = min(PER_SOCKET_S, spread_s / max(1, len(sessions)))
        began = self._loop.time()
        for number, session in enumerate(sessions, 1):
            tell(session)
            ahead_s = began + number * pace_s - self._loop.time()
            if ahead_s > 0 or number % SLICE == 0:
                await asyncio.sleep(max(0, ahead_s))

    async def _all_gone(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                while self._due:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            return False
        return True


class Sessions(Sockets[Session]):
    """The sockets of `chat.v1.json`, pinged one by one."""

    every_s = HEARTBEAT_MS / 1000
    gauge = metrics.SOCKETS
