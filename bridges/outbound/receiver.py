"""Who publishes what the reader's thread reads, and the way from that thread to the loop where it is published."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from bridges.outbound.positions import Place
from bridges.outbound.steps import Step


class Receiver(Protocol):
    """Who publishes what is read. Called on the loop but for `full` and `reached`, which any thread may call."""

    def begin(self, generation: int, places: Mapping[int, Place]) -> None:
        """A generation begins; it has these partitions only."""

    def take(self, generation: int, steps: list[Step]) -> None:
        """The next steps, in order within each partition."""

    async def finish(self, generation: int, within_s: float) -> None:
        """Publish nothing more of it that is not under way; wait for that. Afterwards it has ended."""

    def full(self) -> bool:
        """Whether no more should be read for now."""

    def reached(self, generation: int) -> Mapping[int, Place]:
        """Up to where each partition is published and confirmed without a hole."""


class Loop:
    """The loop, as another thread uses it."""

    def __init__(self, on_closed: Callable[[], None]) -> None:
        """The running loop; `on_closed` is called in the thread that finds it closed: nobody is left to tell."""
        self._loop = asyncio.get_running_loop()
        self._on_closed = on_closed

    def call(self, function: Callable[..., None], *args: object) -> None:
        """Have the loop call this soon, in the order of the calls."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            self._on_closed()

    def wait(self, work: Coroutine[Any, Any, None], within_s: float) -> None:
        """Have the loop do this, and wait for it; where the loop is closed or held up, no longer than this."""
        try:
            future: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            return
        try:
            future.result(within_s)
        except TimeoutError:
            future.cancel()
