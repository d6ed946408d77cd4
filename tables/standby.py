"""Standing by: the rows of partitions that another worker owns, kept near the end of their changelog.

Whoever takes such a partition over has its own rows and loads only the rest. The bulk loader does it, on threads, so
that rule F3 holds here as it does in an opening, and the loop serves meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer

from app.kafka import consumer
from app.telemetry import logger
from tables import loader
from tables.stoppable import Stop, StoppableStore, StoppedError
from tables.store import Store

log = logger("standby")

FOLLOW_S = 5.0  # an owner that takes over loads what came within this time
STOP_S = 2.0  # for the thread to end, which may wait for a broker; it writes nothing any more


class Standby:
    """The partitions of one table that this worker stands by for.

    `open_store` opens a partition's store; it may block. Between `start` and `stop` nobody else may write to them.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: Iterable[int],
        open_store: Callable[[int], Store],
        every_s: float = FOLLOW_S,
    ) -> None:
        self.partitions = set(partitions)
        self._bootstrap = bootstrap
        self._topic = topic
        self._open_store = open_store
        self._every_s = every_s
        self._stop = Stop()
        self._following: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Load, and go on loading what comes."""
        if self.partitions:
            # A thread of its own: the loop's pool is for openings.
            thread = ThreadPoolExecutor(1, thread_name_prefix="standby")
            self._following = asyncio.get_running_loop().run_in_executor(thread, self._follow)
            thread.shutdown(wait=False)  # it ends with what it runs

    async def stop(self) -> None:
        """Write no more: the stores are another's when this returns."""
        self._stop.now()
        if self._following is not None:
            await asyncio.wait([self._following], timeout=STOP_S)

    def _follow(self) -> None:
        while self.partitions:
            # Kept as long as it can read: made for each look, two workers' were most of what an idle broker did. One
            # that failed may hold on to what it was told of a broker that went.
            with consumer.reader(self._bootstrap) as reader:
                while self._look(reader):
                    if self._stop.wait(self._every_s):
                        return
            if self._stop.wait(self._every_s):
                return

    def _look(self, reader: Consumer) -> bool:
        """Load what has come in each partition; whether the reader may be asked again."""
        answered = [self._catch_up(reader, partition) for partition in sorted(self.partitions)]
        reader.unassign()
        return bool(self.partitions) and all(answered)

    def _catch_up(self, reader: Consumer, partition: int) -> bool:
        if self._stop.is_set():
            return True
        try:
            store = StoppableStore(self._open_store(partition), self._stop)
            loaded = loader.load_with(reader, self._topic, partition, store, self._stop.is_set)
        except StoppedError:
            return True
        except consumer.ReadError as away:
            log.warning("standby falls behind", topic=self._topic, partition=partition, why=str(away))
            return False
        except Exception as why:  # noqa: BLE001 - an edge: an opening loads it all the same, or says why it cannot
            self.partitions.discard(partition)
            log.error("standing by no more", topic=self._topic, partition=partition, why=repr(why))
        else:
            if loaded.rows:
                log.debug("standby loaded", topic=self._topic, partition=partition, rows=loaded.rows, void=loaded.void)
        return True
