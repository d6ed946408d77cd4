"""All partitions that a worker owns: opened after Faust's recovery, dropped when they are revoked."""

import asyncio
import time
from collections.abc import Callable, Iterable

from agents.context import Context
from agents.flusher import ClosedError
from agents.opening import DATA_FAULTS, Opening
from agents.partition import Partition
from app.telemetry import logger
from tables.partition_tables import PartitionTables
from tables.stoppable import Stop, StoppableStore
from tables.store import Store

log = logger("ownership")

OPENINGS = 4  # at once: each reads from the broker in threads of its own
DELIVERY_CHECK_S = 1.0


class StalledError(Exception):
    """The broker has not taken a record within the deadline."""


class Ownership:
    """The partitions of one worker.

    `stopped` says why a partition that it was given is not served: something in its data that only an operator can
    put right, or a newer version. Its commands are not read; another assignment or a start tries again.
    """

    def __init__(self, context: Context, stores: Callable[[int], tuple[Store, Store]]) -> None:
        self._context = context
        self._stores = stores
        self._partitions: dict[int, Partition] = {}
        self._closings = 0
        self.stopped: dict[int, str] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._opening: set[Stop] = set()

    def get(self, number: int) -> Partition | None:
        """The partition if this worker owns it and has opened it."""
        return self._partitions.get(number)

    def opened(self) -> list[Partition]:
        """Those that this worker owns and has opened."""
        return list(self._partitions.values())

    async def open(self, numbers: Iterable[int], still_ours: Callable[[], bool]) -> None:
        """Open all of `numbers`. What stays from before is closed first: only the log tells what happened meanwhile.

        What is wrong with one partition's data stops that one. Any other failure leaves the process: Faust swallows
        what its recovery hook raises and would go on with nothing.
        """
        await self.close()
        closings = self._closings
        gate = asyncio.Semaphore(OPENINGS)

        def wanted() -> bool:
            # A revocation closes before the next generation is known: what still opens then must not begin to serve.
            return self._closings == closings and still_ours()

        async def open_one(number: int) -> None:
            async with gate:
                if wanted():
                    await self._open_one(number, wanted)

        results = await asyncio.gather(*(open_one(n) for n in sorted(numbers)), return_exceptions=True)
        if not wanted():
            log.info("another rebalance came while opening", partitions=sorted(numbers))
            return
        for result in results:
            if isinstance(result, BaseException):
                self._context.leave(result if isinstance(result, Exception) else RuntimeError(repr(result)))
                return

    async def _open_one(self, number: int, wanted: Callable[[], bool]) -> None:
        groups, history = self._stores(number)
        wall_ms = time.time_ns() // 1_000_000
        stop = Stop()
        self._opening.add(stop)
        try:
            opened = await open_partition(
                self._context, number, groups, history, wall_ms=wall_ms, still_ours=wanted, stop=stop
            )
        except DATA_FAULTS as fault:
            if wanted():
                self.stop(number, fault)
        else:
            self._partitions[number] = opened
        finally:
            self._opening.discard(stop)

    def stop(self, number: int, why: Exception) -> None:
        """Serve one partition no more, because of its data."""
        self.stopped[number] = f"{type(why).__name__}: {why}"
        log.error("partition stopped; the others go on", partition=number, why=self.stopped[number])
        partition = self._partitions.pop(number, None)
        if partition is not None:
            ending = asyncio.create_task(partition.close())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def settled(self) -> None:
        """Wait until all that is decided is on disk: the barrier that Faust awaits before a commit or a revocation."""
        await asyncio.gather(*(p.in_flight.settled() for p in self._partitions.values() if p.serving))

    async def close(self) -> None:
        """Close and drop every partition with its caches; what is opening now writes no more and is not installed."""
        self._closings += 1
        for stop in self._opening:
            stop.now()
        self.stopped.clear()
        partitions, self._partitions = self._partitions, {}
        await asyncio.gather(*self._ending, *(p.close() for p in partitions.values()))

    async def watch_deliveries(self) -> None:
        """Leave when a record is not delivered within the deadline: a producer that cannot deliver never skips."""
        deadline_s = self._context.settings.delivery_deadline_s
        while True:
            await asyncio.sleep(DELIVERY_CHECK_S)
            for partition in self._partitions.values():
                if partition.in_flight.age_s() > deadline_s:
                    partition.fail(StalledError(f"partition {partition.number}: no delivery in {deadline_s} s"))


async def open_partition(
    context: Context,
    number: int,
    groups: Store,
    history: Store,
    *,
    wall_ms: int,
    still_ours: Callable[[], bool],
    stop: Stop,
) -> Partition:
    """Claim, load, fold, then serve. `still_ours` is asked before the state is installed; `stop` ends all writing.

    Raises:
        ClosedError: another rebalance took the partition while it opened.
        Exception: as `Opening.run`.
    """
    tables = PartitionTables(StoppableStore(groups, stop), StoppableStore(history, stop))
    opened = await Opening(context, number, tables, wall_ms, stop).run()
    if not still_ours():
        raise ClosedError(f"partition {number} was taken away while it opened")
    return Partition(context, number, tables, opened)
