"""A bridge that publishes, in a process of its own, and a queue behind its exchange as a consumer finds it."""

import asyncio
import itertools
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from confluent_kafka import Consumer, TopicPartition

from app.kafka import topics
from app.kafka.consumer import settings
from bridges.outbound.positions import Place, group_id, metadata_of
from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit
from tests.support.stack import STOP_S, Command, clean_environment
from tests.support.waiting import eventually

SEEN_S = 180  # against hanging
_ANSWER_S = 60
_queues = itertools.count()
Message = AbstractIncomingMessage


class OutBridge:
    """One bridge: it can be started again and again."""

    def __init__(
        self, bootstrap: str, rabbit: Rabbit, data: Path, exchange: str, *, name: str = "bridge-0", **more: str
    ) -> None:
        self.exchange = exchange
        self.app_id = more.get("AUERBACH_APP_ID", "auerbach")
        self.data = data
        self._name = name
        self._port = free_ports(1)
        self._env = clean_environment(
            KAFKA_BOOTSTRAP=bootstrap,
            DATA=str(data),
            AUERBACH_BRIDGE=name,
            AUERBACH_BRIDGE_PORT=str(self._port),
            **rabbit.settings,
            **({"AUERBACH_AMQP_EVENTS_EXCHANGE": exchange} if exchange else {}),
            **{"AUERBACH_SESSION_TIMEOUT_S": "6", **more},
        )
        self._command: Command | None = None

    def start(self) -> None:
        """Start it; it publishes nothing yet when this returns."""
        self.data.mkdir(parents=True, exist_ok=True)
        self._command = Command(self.data / f"{self._name}.out", self._env, "bridge")

    def start_ready(self) -> None:
        """Start it, and wait until its way out is ready."""
        self.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        eventually(lambda: self.waits_for() == [], within_s=SEEN_S, what=f"{self._name} ready: {self.printed()}")

    def wait_for(self, text: str) -> None:
        """Wait until it says on `/readyz` that it waits for this."""
        eventually(lambda: any(text in each for each in self.waits_for() or []), within_s=SEEN_S, what=text)

    def waits_for(self) -> list[str] | None:
        """What its way out waits for; None where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=_ANSWER_S) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as red:
            answer = json.load(red)
        except OSError:
            return None
        return [each for each in answer["waiting_for"] if each.startswith(("out: ", "the end"))]

    def metric(self, name: str) -> float:
        """A figure of `/metrics`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=_ANSWER_S) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def printed(self) -> str:
        """All that its lives have printed."""
        return self._command.printed() if self._command is not None else ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it; after SIGKILL it is gone when this returns."""
        assert self._command is not None
        self._command.process.send_signal(number)
        if number == signal.SIGKILL:
            self._command.process.wait(10)

    def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM; its exit code. Fails if it takes longer."""
        return self._command.stop(signal.SIGTERM, within_s) if self._command is not None else 0


def bound_queue(rabbit: Rabbit, exchange: str, key: str, kind: str = "topic", **arguments: Any) -> str:
    """A durable queue bound to a durable exchange, made before any bridge."""
    name = f"q-{next(_queues)}-{exchange}"

    async def declare() -> None:
        connection = await aio_pika.connect(rabbit.url)
        async with connection:
            channel = await connection.channel()
            made = await channel.declare_exchange(exchange, kind, durable=True)
            queue = await channel.declare_queue(name, durable=True, arguments=arguments)
            await queue.bind(made, key)

    asyncio.run(declare())
    return name


def collect(
    rabbit: Rabbit, queue: str, enough: Callable[[list[Message]], bool], within_s: float = SEEN_S
) -> list[Message]:
    """Consume a queue until `enough` of it came, across RabbitMQ's ends; all is acknowledged."""

    async def consume() -> list[Message]:
        taken: list[Message] = []
        async with asyncio.timeout(within_s):
            while not enough(taken):
                with suppress(AMQPError, OSError, asyncio.InvalidStateError):
                    connection = await aio_pika.connect(rabbit.url)
                    async with connection:
                        channel = await connection.channel()
                        await channel.set_qos(prefetch_count=1000)
                        async with (await channel.get_queue(queue)).iterator(timeout=1) as messages:
                            async for message in messages:
                                taken.append(message)
                                await message.ack()
                                if enough(taken):
                                    break
        return taken

    try:
        return asyncio.run(consume())
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: enough of {queue}") from None


def depth(rabbit: Rabbit, queue: str) -> int:
    """How many messages wait in a queue."""

    async def look() -> int:
        connection = await aio_pika.connect(rabbit.url)
        async with connection:
            channel = await connection.channel()
            return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0

    return asyncio.run(look())


def without_repeats(messages: Iterable[Message]) -> dict[str, list[bytes]]:
    """The bodies by group, as docs/consumers.md says: the next seq is taken, what was seen is dropped, and what is
    ahead is left aside: it comes again behind what is missing.
    """
    taken: dict[str, list[bytes]] = {}
    for message in messages:
        bodies = taken.setdefault(str(message.headers["group"]), [])
        if message.headers["seq"] == len(bodies) + 1:
            bodies.append(message.body)
    return taken


def committed(bootstrap: str, app_id: str, partition: int) -> tuple[int, str]:
    """Offset and metadata that bridges committed for a partition of the events; offset negative where they did not."""
    consumer = Consumer(settings(bootstrap, **{"group.id": group_id(app_id)}))
    try:
        (found,) = consumer.committed([TopicPartition(topics.EVENTS, partition)], timeout=SEEN_S)
        return found.offset, found.metadata or ""
    finally:
        consumer.close()


def commit(bootstrap: str, app_id: str, partition: int, place: Place, metadata: str | None, log_id: str) -> None:
    """Commit a position as a bridge would, or with other metadata."""
    consumer = Consumer(settings(bootstrap, **{"group.id": group_id(app_id)}))
    try:
        said = metadata if metadata is not None else metadata_of(place, log_id)
        consumer.commit(offsets=[TopicPartition(topics.EVENTS, partition, place.offset, said)], asynchronous=False)
    finally:
        consumer.close()
