"""The queue of the user service's updates, as it must be or as it is."""

from aio_pika.abc import AbstractConnection
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelPreconditionFailed

from app.config import Settings
from app.telemetry import logger
from bridges.connection import raw_channel

EXCHANGE = "group_updates_exchange"
DECLARE_S = 4.0
_QUEUE_DIFFERS = (
    "USER_SERVICE_EVENT_QUEUE, USER_SERVICE_EVENT_QUEUE_DURABLE: the queue is there already, with other arguments"
)

_log = logger("bridge")


class Declared:
    """Declares, and tells once of each difference that an existing exchange or queue has."""

    def __init__(self, settings: Settings) -> None:
        self._queue = settings.user_service_event_queue
        self._durable = settings.user_service_event_queue_durable
        self._told: set[str] = set()

    async def declare(self, connection: AbstractConnection) -> None:
        """Exchange, queue and binding: made where they are missing, used as they are where they are otherwise.

        Raises:
            aiormq.exceptions.AMQPError: a right is missing, or the queue belongs to another connection alone.
            TimeoutError: no answer.
        """
        channel = await raw_channel(connection)
        try:
            await channel.exchange_declare(EXCHANGE, exchange_type="headers", durable=True, timeout=DECLARE_S)
        except ChannelPreconditionFailed as other:
            self._tell(other, f"the exchange {EXCHANGE} is there already, with other arguments")
            channel = await raw_channel(connection)
        try:
            await channel.queue_declare(self._queue, durable=self._durable, timeout=DECLARE_S)
        except ChannelPreconditionFailed as other:
            self._tell(other, _QUEUE_DIFFERS)
            channel = await raw_channel(connection)
            await channel.queue_declare(self._queue, passive=True, timeout=DECLARE_S)
        # No routing key, no arguments: every message of the exchange (protocol §8).
        await channel.queue_bind(self._queue, EXCHANGE, routing_key="", timeout=DECLARE_S)
        await channel.close()

    async def check(self, channel: AbstractChannel) -> None:
        """Ask whether the queue is still there.

        Raises:
            ChannelNotFoundEntity: it is not.
            TimeoutError: no answer.
        """
        await channel.queue_declare(self._queue, passive=True, timeout=DECLARE_S)

    async def is_consumed(self, connection: AbstractConnection) -> bool:
        """Whether anybody consumes the queue now.

        Raises:
            ChannelNotFoundEntity: it is not there any more.
            TimeoutError: no answer.
        """
        channel = await raw_channel(connection)
        found = await channel.queue_declare(self._queue, passive=True, timeout=DECLARE_S)
        await channel.close()
        return bool(found.consumer_count)

    def _tell(self, other: ChannelPreconditionFailed, what: str) -> None:
        said = str(other)
        if said not in self._told:
            self._told.add(said)
            _log.warning("used as it is", what=what, rabbitmq=said)
