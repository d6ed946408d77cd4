"""The pause watchdog: a worker that was paused may have lost its partitions without knowing, and writes nothing more.

SIGSTOP, a frozen container, a swapping machine: afterwards timers, flushes and commits are all due at once, and the
first of them would be a zombie's. The fencing rules void what a zombie writes; this keeps it from writing (design §4).
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from app.kafka.producer import Headers, Producer, Report

BEATS = 10  # within the limit


class PausedError(Exception):
    """The loop did not run for so long that another worker may own the partitions by now."""


class Watchdog:
    """Calls `leave` when the loop was paused for longer than `limit_s`, half the session.

    A timer alone could run behind a flush that became due in the same pause, so whoever writes asks first: `check`.
    """

    def __init__(
        self, limit_s: float, leave: Callable[[Exception], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit_s = limit_s
        self._leave = leave
        self._clock = clock
        self._beaten = clock()

    def check(self) -> None:
        """Leave if the last beat is too long ago."""
        paused_s = self._clock() - self._beaten
        if paused_s > self._limit_s:
            self._leave(PausedError(f"paused for {paused_s:.1f} s, more than half the session"))

    def beat(self) -> None:
        """The loop runs."""
        self.check()
        self._beaten = self._clock()

    async def run(self) -> None:
        """Beat from now on, for as long as the loop runs; what was before does not count."""
        self._beaten = self._clock()
        while True:
            await asyncio.sleep(self._limit_s / BEATS)
            self.beat()


class WatchedProducer(Producer):
    """A producer that asks the watchdog before each record: nothing is written behind a pause."""

    def __init__(self, bootstrap: str, watchdog: Watchdog) -> None:
        super().__init__(bootstrap)
        self._watchdog = watchdog

    def produce(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        report: Report | None = None,
    ) -> None:
        """As `Producer.produce`."""
        self._watchdog.check()
        super().produce(topic, partition, key=key, value=value, headers=headers, report=report)

    def produce_all(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]], report: Report | None = None
    ) -> None:
        """As `Producer.produce_all`."""
        self._watchdog.check()
        super().produce_all(topic, partition, records, report)
