"""AMQP out: the log's events to a durable topic exchange, and push records for members who are offline (protocol §8).

A thread reads the log (`outbound.reader`), the flow holds what is under way (`outbound.flow`), a link keeps a
connection on which one channel publishes with confirms (`outbound.channel`). At-least-once, in the order of seq in each
group; what RabbitMQ has not confirmed is published again (docs/consumers.md, "From RabbitMQ").
"""

import asyncio

from aio_pika.abc import AbstractConnection
from confluent_kafka.admin import AdminClient

from app.config import Settings
from app.kafka import topics
from app.telemetry import logger
from bridges.connection import Link, blocked
from bridges.outbound.channel import Publisher
from bridges.outbound.flow import Flow
from bridges.outbound.push import EXCHANGE as PUSH_EXCHANGE
from bridges.outbound.push import Pushes
from bridges.outbound.reader import Reader

LOOK_S = 10.0
LOOK_EVERY_S = 3.0
ANSWER_S = 2.0
CLOSE_S = 1.0
WATCH_S = 0.5

_log = logger("bridge")


class Outbound:
    """The part of a bridge that publishes (`bridges.bridge.Part`)."""

    name = "out"

    def __init__(self, settings: Settings, layout: topics.Layout) -> None:
        self._settings = settings
        self._layout = layout
        self._link: Link | None = None
        self._reader: Reader | None = None
        self._flow: Flow | None = None
        self._blocked: str | None = None
        self._drained = asyncio.Event()

    @property
    def state(self) -> str:
        """As `bridges.bridge.Part`."""
        return "waiting" if self.waits_for() else "serving"

    def waits_for(self) -> list[str]:
        """What keeps it from publishing."""
        if self._link is None or self._reader is None:
            return ["its start"]
        waits = (self._link.waits_for, self._blocked, self._reader.waits_for)
        return [what for what in waits if what is not None]

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until `stopping` is set; then what is under way is confirmed, within a bound, and committed."""
        settings = self._settings
        pushes = Pushes(settings.bootstrap, self._layout) if settings.amqp_push else None
        self._flow = Flow(settings.amqp_events_exchange, pushes)
        self._link = Link(settings, self.name, stopping)
        self._reader = Reader(
            settings.bootstrap,
            settings.app_id,
            settings.session_timeout_s,
            self._flow,
            earliest=settings.amqp_events_from == "earliest",
            look=self._look,
        )
        linked = asyncio.create_task(self._link.run(self._serve))
        self._reader.start()
        looking = asyncio.create_task(self._look_at_the_log(self._reader))
        try:
            await stopping.wait()
            looking.cancel()
            await self._reader.close()
            self._drained.set()
            await asyncio.wait({linked}, timeout=CLOSE_S)
        finally:
            linked.cancel()
            looking.cancel()
            if pushes is not None:
                await pushes.close()
        if linked.done() and not linked.cancelled():
            linked.result()

    async def _serve(self, connection: AbstractConnection) -> None:
        """Publish on a connection until it, or the channel, ends; once drained, return."""
        assert self._flow is not None
        assert self._link is not None
        publisher = await Publisher.open(connection, self._exchanges(), self._flow.change)
        self._link.ready()
        drained = asyncio.ensure_future(self._drained.wait())
        publishing = asyncio.create_task(self._flow.publish_on(publisher))
        watching = asyncio.create_task(self._watch(connection))
        tasks = {drained, publishing, watching}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
        finally:
            self._blocked = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CLOSE_S)

    async def _watch(self, connection: AbstractConnection) -> None:
        """Say when RabbitMQ takes no messages: what is under way then waits, and nothing more is read."""
        while True:
            await asyncio.sleep(WATCH_S)
            full = await blocked(connection)
            if full and self._blocked is None:
                self._blocked = (
                    f"RabbitMQ at {self._settings.rabbitmq_place}: its alarm of memory or disk blocks publishers"
                )
                _log.error("bridge waits", part=self.name, cause=self._blocked)
            elif not full and self._blocked is not None:
                self._blocked = None
                _log.info("bridge serves again: RabbitMQ's alarm is over", part=self.name)

    async def _look_at_the_log(self, reader: Reader) -> None:
        """Ask Kafka now and then whether the log is the one that is read, and whether it answers at all."""
        admin = AdminClient({"bootstrap.servers": self._settings.bootstrap, "log_level": 0})
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            reader.on_look(await asyncio.to_thread(topics.find_log_id, admin, ANSWER_S))

    def _exchanges(self) -> dict[str, str]:
        events, push = self._settings.amqp_events_exchange, self._settings.amqp_push
        return {**({events: "topic"} if events else {}), **({PUSH_EXCHANGE: "headers"} if push else {})}

    def _look(self) -> topics.Layout:
        settings = self._settings
        return topics.check(settings.bootstrap, settings.app_id, settings.partitions_given, LOOK_S)
