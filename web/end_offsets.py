"""The end offsets of event partitions, taken after somebody asked (design I9)."""

import asyncio
from collections.abc import Awaitable, Callable

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from app.kafka import topics
from app.telemetry import logger
from web import metrics

LOOKUP_S = 2.0

_log = logger("web")

Lookup = Callable[[set[int]], Awaitable[dict[int, int]]]


class EndUnknownError(Exception):
    """The broker did not say where a partition ends."""


class EndOffsets:
    """One look-up serves all who asked before it began; who comes while one is under way waits for the next."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._rounds: asyncio.Task[None] | None = None

    async def after_now(self, partition: int) -> int:
        """The offset that the next record of the partition will get, or a later one.

        Raises:
            EndUnknownError: the broker did not answer.
        """
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = asyncio.get_running_loop().create_future()
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run_rounds())
        return await asyncio.shield(waiting)

    async def close(self) -> None:
        """End the look-up that is under way: nobody is to wait for it any more."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def _run_rounds(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                ends = await self._look(set(waiting))
                for partition, future in waiting.items():
                    if partition in ends:
                        future.set_result(ends[partition])
                    else:
                        future.set_exception(EndUnknownError(f"{topics.EVENTS}/{partition}"))
                        future.exception()  # all who asked may have gone meanwhile: nobody is to be warned then
        finally:
            self._rounds = None

    async def _look(self, partitions: set[int]) -> dict[int, int]:
        try:
            return await self._lookup(partitions)
        except Exception as failed:  # noqa: BLE001 - an edge: those who wait must hear of it, and may ask again
            metrics.ERRORS.labels("end_offsets").inc()
            _log.warning("end offsets cannot be looked up", why=str(failed))
            return {}


class KafkaEnds:
    """Looks up end offsets at the broker."""

    def __init__(self, bootstrap: str) -> None:
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 1000})

    async def __call__(self, partitions: set[int]) -> dict[int, int]:
        """The end offset of each of `partitions` of the events topic that the broker tells."""
        asked = {TopicPartition(topics.EVENTS, p): OffsetSpec.latest() for p in partitions}
        answers = self.admin.list_offsets(asked, request_timeout=LOOKUP_S)
        results = await asyncio.gather(*map(asyncio.wrap_future, answers.values()), return_exceptions=True)
        told = zip(answers, results, strict=True)
        # Of a broker that is silent until the timeout, librdkafka tells the offset -1001 and no error. Taken for an
        # end, any answer would cover it, and what was acknowledged elsewhere might not be seen.
        ends = {p.partition: e.offset for p, e in told if not isinstance(e, BaseException) and e.offset >= 0}
        if len(ends) < len(partitions):
            await asyncio.to_thread(self._refresh)
        return ends

    def _refresh(self) -> None:
        """Ask for the partitions' leaders anew.

        librdkafka's look-up takes "no leader", which it learned while a broker started again, for an answer and
        keeps it: without this no end offset would be told any more.
        """
        try:
            self.admin.list_topics(topics.EVENTS, timeout=LOOKUP_S)
        except KafkaException as failed:
            _log.warning("the broker tells no leaders", why=failed.args[0].str())
