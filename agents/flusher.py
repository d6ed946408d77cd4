"""When an owner writes behind: regularly, and never ahead of what is on disk (design §4, Writing behind)."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from agents.event_log import EventLog
from agents.in_flight import InFlight
from app.config import Settings
from app.log.records import CommandPlace
from tables import rows
from tables.partition_tables import PartitionTables
from tables.write_behind import WriteBehind

FLUSH_ROWS = 1_000


class ClosedError(Exception):
    """The partition is not open here (any more)."""


@dataclass(frozen=True, slots=True)
class LastFlush:
    """When a flush ended (monotonic seconds), the rows that it wrote, and how long it took."""

    at_s: float
    rows: int
    took_s: float


class Flusher:
    """The flushes of an open partition.

    `decided` gives the place of the last command decided, `flushed` is called after each flush, `failed` when one
    cannot be written in time: nothing may be written after it.
    """

    def __init__(
        self,
        settings: Settings,
        topic_id: str,
        tables: PartitionTables,
        event_log: EventLog,
        in_flight: InFlight,
        write_behind: WriteBehind,
        *,
        decided: Callable[[], CommandPlace],
        flushed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._interval_s = settings.flush_interval_ms / 1000
        self._deadline_s = settings.delivery_deadline_s
        self._topic_id = topic_id
        self._tables = tables
        self._log = event_log
        self._in_flight = in_flight
        self._write_behind = write_behind
        self._decided = decided
        self._flushed = flushed
        self._failed = failed
        self._dirty = asyncio.Event()
        self._many = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._begun = False  # whether each table has a position of this owner's: the next opening starts from it
        self._task: asyncio.Task[None] | None = None
        self.last: LastFlush | None = None

    def start(self) -> None:
        """Flush from now on; what opening changed, first."""
        self._dirty.set()
        self._task = asyncio.create_task(self._run())

    def changed(self) -> None:
        """Something is to be written."""
        self._dirty.set()
        if self._tables.unwritten() >= FLUSH_ROWS:
            self._many.set()

    def write_positions(self) -> None:
        """Flush, whether anything changed or not: there is a table whose position was not written yet."""
        self._begun = False
        self._dirty.set()

    async def stop(self) -> None:
        """Flush no more; one that is under way is left as a crash would leave it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def flush(self) -> None:
        """One flush: a snapshot now, written when all that it covers is delivered.

        Raises:
            ClosedError: the partition ended meanwhile.
            TimeoutError: the changelog did not take the rows within the delivery deadline.
            Exception: as `WriteBehind.flush`.
        """
        async with self._one_at_a_time:
            if self._begun and not self._tables.unwritten():
                return
            began, self._begun = monotonic(), True
            snapshot = self._tables.snapshot(self._log.epoch)
            decided, event_offset = self._decided(), self._log.offset_after_all()
            await self._in_flight.settled()
            position = rows.Position(
                event_offset=await event_offset,
                epoch=self._log.epoch,
                command_topic_id=self._topic_id,
                command_offset=decided.offset,
                command_index=decided.index,
            )
            async with asyncio.timeout(self._deadline_s):
                await self._write_behind.flush(snapshot, position)
            ended = monotonic()
            self.last = LastFlush(at_s=ended, rows=len(snapshot), took_s=ended - began)
            self._flushed()

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._many.wait(), self._interval_s)
            self._dirty.clear()
            self._many.clear()
            try:
                await self.flush()
            except ClosedError:
                return  # whoever closed the partition has said so
            except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
                self._failed(why)
                return
