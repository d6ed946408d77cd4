"""Faust, tamed: the few changes to its transport and app, each because of something measured (design §4).

They reach into `faust-streaming` 0.15.3 and `aiokafka` 0.14.0, which are pinned exactly; the tests fail when an
upgrade moves what is relied on here. What changes in recovery is in `agents.recovery`.
"""

import asyncio
import faulthandler
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from faust.app.base import App as FaustApp
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import ConsumerRebalanceListener as FaustRebalanceListener
from faust.transport.drivers.aiokafka import Producer as FaustProducer
from faust.transport.drivers.aiokafka import Transport as FaustTransport
from faust.types import TP
from faust.worker import Worker as FaustWorker
from mode.services import WaitResults

from agents import membership
from agents.recovery import TableManager

FETCH_WAIT_MS = 100
POLL_S = 0.1
IDLE_S = 0.05
STOP_S = 20  # an ordered stop takes about one


class RebalanceListener(FaustRebalanceListener):
    """Beats while the assignment is taken in, and fetches no changelogs."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Begin with an assignment."""
        consumer = self._thread._ensure_consumer()  # noqa: SLF001
        # aiokafka beats again when this returns: opening stores must not cost the session.
        consumer._coordinator._start_heartbeat_task()  # noqa: SLF001
        # Faust only passes over what it pauses: each changelog would fill a buffer that nobody empties.
        changelogs = self._thread.app.tables.changelog_topics
        consumer.pause(*(tp for tp in assigned if tp.topic in changelogs))
        await super().on_partitions_assigned(assigned)


class ConsumerThread(AIOKafkaConsumerThread):
    """Fetches with a short wait: Faust's 1.5 s would hold a commit or a rebalance up for as long.

    Leaves the group on an ordered stop, behind the last commit.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - a literal in Faust; read when the consumer starts
        return consumer

    async def on_thread_stop(self) -> None:
        """Leave, and end."""
        if self.app.gives_up_its_place and self._consumer is not None:
            await membership.leave(self._consumer)
        await super().on_thread_stop()


class Consumer(FaustConsumer):
    """Polls ten times a second and never sleeps a whole second (p99 105 ms instead of 9 ms otherwise)."""

    RebalanceListener = RebalanceListener

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Go where the group has committed, but no further than the next record that is due.

        What Faust fetched and dropped in a rebalance it may have committed as a gap in the log; only the owner's
        position says what is decided.
        """
        await super().perform_seek()
        for tp in self.assignment():
            due, reached = self.app.due(tp), self._read_offset[tp]
            if due is not None and reached is not None and reached > due:
                await self.seek(tp, due)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch from partitions, except those that the app withholds: they stay paused whatever Faust resumes."""
        super().resume_partitions({tp for tp in tps if not self.app.withholds(tp)})

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:
        """What Faust awaits for each record. It takes most at once: then its four tasks are one."""
        first, *others = coros
        if timeout is not None or not asyncio.iscoroutine(first) or self.should_stop:
            return await super().wait_first(*coros, timeout=timeout)
        taking = asyncio.ensure_future(first)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            taking.cancel()
            raise
        if not taking.done():
            return await super().wait_first(taking, *others, timeout=timeout)
        for other in others:
            other.close()
        return WaitResults([first], [taking.result()], stopped=False)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        if self.flow_active and not self.app.client_only:
            active = self._get_active_partitions()
            if not active:
                await self.sleep(IDLE_S)
                return {}, active
        records, active = await super()._wait_next_records(min(timeout, POLL_S))
        return records, active


class Producer(FaustProducer):
    """`flush` is what Faust awaits before it commits or gives partitions away: the barrier of our deliveries."""

    async def flush(self) -> None:
        """Wait until everything that was decided is on disk."""
        await self.app.barrier()
        await super().flush()


class Transport(FaustTransport):
    """The transport made of the above."""

    Consumer = Consumer
    Producer = Producer


class App(FaustApp):
    """A Faust app that uses this transport.

    It begins with `prepare`, on its loop; its commits wait for `barrier`; partitions that it `withholds` are not read;
    `due` is the offset of the next record that is to be read, as far as it is known; `gives_up_its_place` is set when a
    stop was ordered, and not when it crashes: then its slot comes back.
    """

    prepare: Callable[[], Awaitable[None]]
    barrier: Callable[[], Awaitable[None]]
    withholds: Callable[[TP], bool]
    due: Callable[[TP], int | None]
    gives_up_its_place: bool = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, TableManager=TableManager, **options)

    async def on_first_start(self) -> None:
        """Begin, before anything is started."""
        await super().on_first_start()
        await self.prepare()

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)

    def _on_rebalance_when_stopped(self) -> None:
        """Nothing: Faust would close the consumer under the last commit when two workers stop at once."""


class Worker(FaustWorker):
    """Faust's worker without its logging set-up (ours stands already) and spinner, and with a bound on its stop."""

    def _setup_logging(self) -> None:
        self.spinner = None

    def _schedule_shutdown(self, signal: Any) -> None:
        # What is not on disk was not acknowledged, so a stop that hangs may end the hard way, saying where it hung.
        faulthandler.dump_traceback_later(STOP_S, exit=True)
        self.app.gives_up_its_place = True
        super()._schedule_shutdown(signal)

    async def _sentinel_task(self) -> None:
        await asyncio.sleep(0)  # Faust's second of sleep, at the very end
