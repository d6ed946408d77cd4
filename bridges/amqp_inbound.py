"""AMQP in: the user service's messages become commands, in the order in which they came (protocol §8, design §6)."""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity

from app.config import Settings
from app.kafka import topics
from app.kafka.producer import Producer
from app.telemetry import logger
from bridges.connection import Link, LostError, raw_channel
from bridges.inbound import lenient, metrics
from bridges.inbound.declaring import DECLARE_S, Declared
from bridges.inbound.deliveries import taker
from bridges.inbound.writing import Writing

CHECK_S = 2.0
KAFKA_S = 5.0
# Kafka slower than this is told in the health; slower than the delivery deadline, and all begins again.
SLOW_S = 3.0
ASK_S = (2.0, 4.0)  # how often one that stands by asks, seconds
# An exclusive consumer that is refused so often while nobody consumes is refused by the queue itself, and not by one
# that went in between.
UNCONSUMED, AGAIN_S = 3, 0.3
LAST_S = 2.0  # what is under way at the end may take this long
# What is under way to Kafka arrives before the next session begins, or never, if Kafka takes it within this.
DISCARD_S = 0.7
QUEUED_RECORDS = 20_000

_log = logger("bridge")


class Inbound:
    """The part: one exclusive consumer of the queue, or one that stands by for it."""

    name = "in"

    def __init__(self, settings: Settings) -> None:
        lenient.install()
        self._settings = settings
        self._queue = settings.user_service_event_queue
        self._declared = Declared(settings)
        self._link: Link | None = None
        self._writing: Writing | None = None
        self._standing_by = False
        self._gone: asyncio.Future[None] | None = None

    @property
    def state(self) -> str:
        """As `bridges.bridge.Part`."""
        if self.waits_for():
            return "waiting"
        return "standing by" if self._standing_by else "serving"

    def waits_for(self) -> list[str]:
        """What keeps it from its work."""
        link = self._link
        waiting = ["its start"] if link is None else [] if link.waits_for is None else [link.waits_for]
        late = self._writing is not None and self._writing.oldest_s() > SLOW_S
        return [*waiting, *([f"Kafka at {self._settings.bootstrap} to take records"] if late else [])]

    async def run(self, stopping: asyncio.Event) -> None:
        """Consume until `stopping` is set, then finish what is under way."""
        self._link = Link(self._settings, self.name, stopping)
        await self._link.run(lambda connection: self._serve(connection, stopping))

    async def _serve(self, connection: AbstractConnection, stopping: asyncio.Event) -> None:
        """One session: declare, wait for one's turn, consume. Whatever ends raises, and all begins again."""
        layout = await self._layout()
        await self._declared.declare(connection)
        assert self._link is not None
        producer = Producer(
            self._settings.bootstrap,
            queue_records=QUEUED_RECORDS,
            # What this session could not write must not come later than the next one's records, which are the same
            # messages again. Behind the first that is overdue the producer writes nothing (its guarantee of no gaps).
            extra={"message.timeout.ms": round(1000 * self._settings.delivery_deadline_s)},
        )
        try:
            channel = await self._turn(connection, producer, layout, stopping)
            if channel is None:
                return
            assert self._writing is not None
            self._link.ready()
            await self._until_stopped(connection, self._writing, stopping)
            await self._finish(channel, self._writing)
        finally:
            if self._writing is not None:
                self._writing.end()
            self._writing = None
            self._standing_by = False
            metrics.STANDING_BY.set(0)
            metrics.OPEN.set(0)
            await producer.discard(DISCARD_S)

    async def _layout(self) -> topics.Layout:
        """The topics as they are now: a log that was made anew may have another number of partitions."""
        s = self._settings
        try:
            return await _aside(lambda: topics.check(s.bootstrap, s.app_id, s.partitions_given, KAFKA_S))
        except topics.TopicsError as fault:
            raise LostError(f"Kafka: {fault}") from None

    async def _turn(
        self, connection: AbstractConnection, producer: Producer, layout: topics.Layout, stopping: asyncio.Event
    ) -> AbstractChannel | None:
        """The channel that consumes, once nobody else does; None if `stopping` came first."""
        assert self._link is not None
        unconsumed = 0  # refusals in a row while nobody consumed
        while not stopping.is_set():
            channel = await raw_channel(connection)
            writing = Writing(self._queue, producer, layout, channel)
            take = taker(self.name, self._queue, writing)
            self._gone = asyncio.get_running_loop().create_future()
            channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
            # A queue with `x-single-active-consumer` takes no exclusive consumers, and needs none.
            exclusive = unconsumed < UNCONSUMED
            try:
                async with asyncio.timeout(DECLARE_S):
                    await channel.basic_qos(prefetch_count=self._settings.bridge_prefetch)
                    self._writing = writing
                    await channel.basic_consume(self._queue, take, exclusive=exclusive)  # type: ignore[arg-type]
            except ChannelAccessRefused as refused:
                # One code for three things: another consumes, the queue has its own rule, or a right is missing.
                self._writing = None
                if "exclusive use" not in str(refused):
                    raise
            else:
                self._have_turn(exclusive=exclusive)
                return channel
            consumed = await self._declared.is_consumed(connection)
            unconsumed = 0 if consumed else unconsumed + 1
            if consumed:
                self._stand_by()
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(*ASK_S) if consumed else AGAIN_S):
                    await stopping.wait()
        return None

    def _have_turn(self, *, exclusive: bool) -> None:
        if self._standing_by:
            _log.info("bridge takes over", part=self.name, queue=self._queue)
        if not exclusive:
            _log.info("the queue lets one consumer at a time read it by itself", part=self.name, queue=self._queue)
        self._standing_by = False
        metrics.STANDING_BY.set(0)

    def _stand_by(self) -> None:
        assert self._link is not None
        if not self._standing_by:
            _log.info("bridge stands by: another one consumes", part=self.name, queue=self._queue)
        self._standing_by = True
        metrics.STANDING_BY.set(1)
        self._link.ready()

    def _on_cancelled(self, _: object) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def _until_stopped(self, connection: AbstractConnection, writing: Writing, stopping: asyncio.Event) -> None:
        """Return when `stopping` is set; raise when there is nothing to consume any more, or no way to write."""
        asker = await raw_channel(connection)
        deadline_s = self._settings.delivery_deadline_s
        asked = asyncio.ensure_future(stopping.wait())
        assert self._gone is not None
        gone_by = f"USER_SERVICE_EVENT_QUEUE: the queue {self._queue} was deleted; it is declared anew"
        try:
            while True:
                ends: set[asyncio.Future[Any]] = {asked, self._gone, writing.failed}
                await asyncio.wait(ends, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                if writing.failed.done():
                    writing.failed.result()
                if self._gone.done():
                    raise LostError(gone_by)
                if asked.done():
                    return
                if writing.oldest_s() > deadline_s:
                    raise LostError(f"Kafka at {self._settings.bootstrap} has taken no record for {deadline_s:.0f} s")
                try:
                    await self._declared.check(asker)
                except ChannelNotFoundEntity:
                    raise LostError(gone_by) from None
        finally:
            asked.cancel()

    async def _finish(self, channel: AbstractChannel, writing: Writing) -> None:
        """Take nothing more, and acknowledge what is written within `LAST_S`; the rest comes again to the next one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                for tag in list(channel.consumers):  # type: ignore[attr-defined]
                    await channel.basic_cancel(tag)
                await writing.finished()
        _log.info("bridge stopped consuming", part=self.name, unacknowledged=len(writing))


async def _aside(work: Callable[[], topics.Layout]) -> topics.Layout:
    """What `work` returns or raises, from a thread that holds up no end; the loop's executor is waited for at exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[topics.Layout] = loop.create_future()

    def settle(layout: topics.Layout | None, fault: Exception | None) -> None:
        if done.done():
            return  # whoever asked has gone
        if fault is not None:
            done.set_exception(fault)
        elif layout is not None:
            done.set_result(layout)

    def run() -> None:
        found: tuple[topics.Layout | None, Exception | None]
        try:
            found = work(), None
        except Exception as fault:  # noqa: BLE001 - raised again in who waits
            found = None, fault
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, *found)

    threading.Thread(target=run, name="topics", daemon=True).start()
    return await done
