"""All sockets of this gateway: their heartbeat and their drain."""

import asyncio
import random
from collections import deque

from web import metrics
from web.frames import HEARTBEAT_MS
from web.session import Session

SLICE = 100  # sockets pinged or closed before the loop gets its turn
IDLE_S = 0.5
SPREAD_PER_SOCKET_MS = 2
SHORTEST_SPREAD_MS = 1_000
LONGEST_SPREAD_MS = 30_000


class Sessions:
    """The open sessions. One sweep pings them all: each is due a heartbeat after its last, so they are due in order."""

    def __init__(self) -> None:
        self._open: set[Session] = set()
        self._due: deque[tuple[float, Session]] = deque()
        self._loop = asyncio.get_running_loop()
        self._spread_ms: int | None = None  # set when a drain has begun
        self._gone = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, session: Session) -> None:
        """A socket was opened."""
        self._open.add(session)
        self._due.append((self._loop.time() + HEARTBEAT_MS / 1000, session))
        metrics.SOCKETS.set(len(self._open))
        if self._spread_ms is not None:
            self._loop.call_soon(session.bye, random.randrange(self._spread_ms))  # its handshake had begun before

    def remove(self, session: Session) -> None:
        """A socket has ended."""
        self._open.discard(session)
        metrics.SOCKETS.set(len(self._open))
        if not self._open:
            self._gone.set()

    async def run(self) -> None:
        """Ping until cancelled."""
        while True:  # noqa: ASYNC110 - what is waited for is the clock
            await asyncio.sleep(0.01 if self.sweep(self._loop.time()) else IDLE_S)

    def sweep(self, now: float) -> bool:
        """Ping a slice of those that are due at `now`; whether more are due."""
        for _ in range(SLICE):
            if not self._due or self._due[0][0] > now:
                return False
            _, session = self._due.popleft()
            if session in self._open:
                session.beat(now)
                self._due.append((now + HEARTBEAT_MS / 1000, session))
        return True

    async def drain(self, timeout_s: float) -> None:
        """Say bye to all and wait until they are gone; who is left after `timeout_s` is cut off."""
        self._spread_ms = min(max(SHORTEST_SPREAD_MS, len(self._open) * SPREAD_PER_SOCKET_MS), LONGEST_SPREAD_MS)
        for number, session in enumerate(list(self._open), 1):
            session.bye(random.randrange(self._spread_ms))
            if number % SLICE == 0:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(timeout_s):
                while self._open:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for session in list(self._open):
                session.abort()
