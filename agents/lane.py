"""The records of one partition, waiting for their turn: one partition that waits holds up no other until it is full."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from agents.commands import CommandRecord
from agents.flusher import ClosedError

# What waits before who reads the topic, and with it all partitions, waits, too.
LANE_RECORDS = 1_000
LANE_BYTES = 4 * 1024 * 1024

Done = Callable[[], None]


class Lane:
    """A bounded queue, and the task that hands its records on, one after the other.

    `handle` takes a record; what it raises, other than ClosedError, is told to `failed`.
    """

    def __init__(
        self, handle: Callable[[CommandRecord, Done], Awaitable[None]], failed: Callable[[Exception], None]
    ) -> None:
        self._handle = handle
        self._failed = failed
        self._records: deque[tuple[CommandRecord, Done]] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._handling = False
        self._task = asyncio.create_task(self._run())

    @property
    def idle(self) -> bool:
        """Whether there is nothing to hand on."""
        return not self._records and not self._handling

    @property
    def full(self) -> bool:
        """Whether `put` waits."""
        return not self._room.is_set()

    async def put(self, record: CommandRecord, done: Done) -> None:
        """Have a record handled, with `done`, behind all that came before; waits while the lane is full.

        Raises:
            ClosedError: the lane is closed; the record will be read again by the partition's next owner.
        """
        while not self._closed and (len(self._records) >= LANE_RECORDS or self._bytes >= LANE_BYTES):
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise ClosedError("the lane is closed")
        self._records.append((record, done))
        self._bytes += len(record.value or b"")
        self._some.set()

    async def close(self) -> None:
        """Hand nothing on any more. A record in the middle stays there: its rest is its next owner's."""
        self.abandon()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def abandon(self) -> None:
        """Drop what waits, and take no more."""
        self._closed = True
        self._records.clear()
        self._room.set()

    async def _run(self) -> None:
        while not self._closed:
            await self._some.wait()
            self._some.clear()
            while self._records:
                record, done = self._records.popleft()
                self._bytes -= len(record.value or b"")
                self._room.set()
                self._handling = True
                try:
                    await self._handle(record, done)
                except ClosedError:
                    return
                except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
                    self._failed(why)
                    return
                finally:
                    self._handling = False
