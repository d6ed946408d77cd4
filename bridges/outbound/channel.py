"""A channel to RabbitMQ that publishes many messages at once and has each confirmed (RabbitMQ, "Consumer
Acknowledgements and Publisher Confirms").

aiormq's own `basic_publish` costs a task, a lock and a deadline a message (150 µs here).
This keeps its books (`delivery_tag`, `confirmations`) and writes to its queue as it does, many messages in one write.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame, ConfirmationFrameType
from aiormq.channel import Channel

from bridges.connection import ANSWER_S
from bridges.outbound.frames import Header, published

# What may be under way: beyond it who publishes waits (design I7).
UNCONFIRMED_MESSAGES = 1_000
UNCONFIRMED_BYTES = 8 * 1024 * 1024


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
        written = bytearray()
        for message in messages:
            written += self._frames(message)
            self._expect(message)
        # It waits where ten writes are queued, which a writer that never waits for the socket takes at once.
        await self._channel.write_queue.put(ChannelFrame(payload=bytes(written), should_close=False))

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

    def _frames(self, message: Outgoing) -> bytes:
        return published(
            self._channel.number,
            self._channel.max_content_size,
            exchange=message.exchange,
            routing_key=message.routing_key,
            content_type=message.content_type,
            headers=message.headers,
            message_id=message.message_id,
            at_s=message.at_ms // 1000,
            kind=message.kind,
            body=message.body,
        )

    def _on_closed(self, closing: "asyncio.Future[None]") -> None:
        cause = None if closing.cancelled() else closing.exception()
        said = " ".join(str(part) for part in cause.args if part is not None) if cause is not None else ""
        self._fail(f"RabbitMQ closed the channel: {said}" if said else "RabbitMQ closed the channel")

    def _fail(self, why: str) -> None:
        if self.fault is None:
            self.fault = why
            self._on_change()
