"""A partition's history while it loads behind a partition that serves already (design §4, Writing behind)."""

import asyncio
from collections.abc import Callable

from agents.history_loading import HistoryLoading
from agents.opening import DATA_FAULTS
from tables.stoppable import StoppedError

THREAD_S = 2.0  # for a thread that loads to end, which may wait for a broker; it writes nothing any more


class LateHistory:
    """Loads it, from its making on; `loading` is None where it is whole already.

    `loaded` is called when it has been loaded, `faulty` when something in its data keeps it from being so, `failed`
    when anything else does.
    """

    def __init__(
        self,
        loading: HistoryLoading | None,
        *,
        loaded: Callable[[], None],
        faulty: Callable[[Exception], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._loading = loading
        self._tell_loaded = loaded
        self._faulty = faulty
        self._failed = failed
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def whole(self) -> None:
        """Wait until it is whole, or never will be."""
        await self._over.wait()

    def stop(self) -> None:
        """Load no more: nothing is written of it when this returns."""
        if self._loading is not None:
            self._loading.stop()

    def abandon(self) -> None:
        """As `stop`; whoever waits for it goes on."""
        self.stop()
        self._over.set()

    async def end(self) -> None:
        """Wait until nothing loads any more, `THREAD_S` at most; it was stopped before."""
        await asyncio.wait([self._task], timeout=THREAD_S)
        self._task.cancel()

    async def _run(self) -> None:
        if self._loading is not None:
            try:
                await self._loading.run()
            except StoppedError:
                return
            except DATA_FAULTS as fault:
                self._faulty(fault)
                return
            except Exception as why:  # noqa: BLE001 - an edge: the process leaves on purpose
                self._failed(why)
                return
            self._tell_loaded()
        self._over.set()
