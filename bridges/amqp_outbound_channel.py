"""A channel to RabbitMQ that publishes many messages at once and has each confirmed (RabbitMQ, "Consumer
Acknowledgements and Publisher Confirms").

aiormq's own `basic_publish` costs a task, a lock and a deadline a message (150 µs here, of which 35 are the frames).
This keeps its books (`delivery_tag`, `confirmations`) and writes to its queue as it does, many messages in one write.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame, ConfirmationFrameType, FrameType
from aiormq.channel import Channel
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from bridges.connection import ANSWER_S

# What may be under way: beyond it who publishes waits (design I7).
UNCONFIRMED_MESSAGES = 1_000
UNCONFIRMED_BYTES = 8 * 1024 * 1024
_PERSISTENT = 2

Header = str | int


class Outgoing(NamedTuple):
    """A message to be published, persistent. `at_ms`: since 1970. `confirmed` is called once RabbitMQ has it."""

    exchange: str
    routing_key: str
    message_id: str
    kind: str | None
    content_type: str | None
    at_ms: int
    headers: dict[str, Header]
    body: bytes
    confirmed: Callable[[], None]


class Publisher:
    """Publishes on one channel, in the order of the calls. It ends with the first thing that goes wrong."""

    def __init__(self, channel: Channel, on_change: Callable[[], None]) -> None:
        """`on_change` is called when there is room again, and when `fault` is set."""
        self.fault: str | None = None
        self.unconfirmed = 0
        self._bytes = 0
        self._channel = channel
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._max_body = channel.max_content_size
        channel.closing.add_done_callback(self._on_closed)

    @staticmethod
    async def open(
        connection: AbstractConnection, exchanges: dict[str, str], on_change: Callable[[], None]
    ) -> "Publisher":
        """Open a channel with confirms, and declare durable exchanges (name → type).

        Raises:
            AMQPError: RabbitMQ refuses: an exchange of that name is another one, or a right is missing.
            TimeoutError: it does not answer.
        """
        channel = connection.channel(publisher_confirms=True, on_return_raises=False)
        async with asyncio.timeout(ANSWER_S):
            await channel.initialize()
            raw = await channel.get_underlay_channel()
            assert isinstance(raw, Channel)
            for name, kind in exchanges.items():
                await raw.exchange_declare(name, exchange_type=kind, durable=True)
        return Publisher(raw, on_change)

    @property
    def room(self) -> tuple[int, int]:
        """How many messages, of how many bytes together, may be published now; the last one may go beyond it."""
        return UNCONFIRMED_MESSAGES - self.unconfirmed, UNCONFIRMED_BYTES - self._bytes

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Write the messages, in order; each one's `confirmed` follows, unless `fault` is set before."""
        frames: list[FrameType | ContentBody] = []
        for message in messages:
            self._expect(message)
            frames += self._frames(message)
        # It waits where ten writes are queued, which a writer that never waits for the socket takes at once.
        await self._channel.write_queue.put(ChannelFrame.marshall(channel_number=self._channel.number, frames=frames))

    def _expect(self, message: Outgoing) -> None:
        size = len(message.body)
        self.unconfirmed += 1
        self._bytes += size
        confirmation: asyncio.Future[ConfirmationFrameType] = self._loop.create_future()

        def on_done(future: asyncio.Future[ConfirmationFrameType]) -> None:
            self.unconfirmed -= 1
            self._bytes -= size
            if future.cancelled() or future.exception() is not None:
                self._fail("RabbitMQ did not take a message (a queue refused it, or failed)")
            elif self.fault is None:
                message.confirmed()
                self._on_change()

        confirmation.add_done_callback(on_done)
        self._channel.delivery_tag += 1
        self._channel.confirmations[self._channel.delivery_tag] = confirmation

    def _frames(self, message: Outgoing) -> list[FrameType | ContentBody]:
        properties = commands.Basic.Properties(
            content_type=message.content_type,
            headers=dict(message.headers),
            delivery_mode=_PERSISTENT,
            message_id=message.message_id,
            timestamp=datetime.fromtimestamp(message.at_ms // 1000, UTC),
            message_type=message.kind,
        )
        body, most = message.body, self._max_body
        return [
            commands.Basic.Publish(exchange=message.exchange, routing_key=message.routing_key),
            ContentHeader(properties=properties, body_size=len(body)),
            *(ContentBody(body[at : at + most]) for at in range(0, len(body), most)),
        ]

    def _on_closed(self, closing: "asyncio.Future[None]") -> None:
        cause = None if closing.cancelled() else closing.exception()
        said = " ".join(str(part) for part in cause.args if part is not None) if cause is not None else ""
        self._fail(f"RabbitMQ closed the channel: {said}" if said else "RabbitMQ closed the channel")

    def _fail(self, why: str) -> None:
        if self.fault is None:
            self.fault = why
            self._on_change()
