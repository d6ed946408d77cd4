"""What is posted from here to one group: an echo in its timeline at once, and sent until it has an outcome."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from auerbach_client.errors import AuerbachError, ChatError, EndedError
from auerbach_client.messages import Message, Status
from auerbach_client.timeline import Timeline

if TYPE_CHECKING:
    from auerbach_client.client import Client

# Echoes without an outcome: who posts faster than this is taken is told so.
_MOST_PENDING = 1000


class Outbox:
    """The messages of one user to a group that are on their way, or failed.

    `own` starts a task and ends it with the conversation: what has no outcome by then is failed. `on_change` is called
    when an echo came, went, or stands otherwise.
    """

    def __init__(
        self,
        client: "Client",
        group: str,
        timeline: Timeline,
        *,
        own: Callable[[Coroutine[Any, Any, None]], object],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._group = group
        self._timeline = timeline
        self._own = own
        self._on_change = on_change

    @property
    def pending(self) -> int:
        """How many messages have no outcome yet."""
        return sum(echo.status is Status.PENDING for echo in self._timeline.echoes)

    def post(self, message: Message) -> None:
        """Show a pending message and send it, in the order of the calls.

        Raises:
            ChatError: `overloaded`, temporary: too many have no outcome.
        """
        if self.pending >= _MOST_PENDING:
            raise ChatError("overloaded", f"{_MOST_PENDING} messages are without an outcome", temporary=True)
        self._timeline.echo(message)
        self._deliver(message)

    def retry(self, message: Message) -> None:
        """Send a failed message again, with its `client_msg_id`."""
        if self._has_failed(message):
            message.status, message.error = Status.PENDING, None
            self._deliver(message)

    def discard(self, message: Message) -> None:
        """Show a failed message no longer."""
        if self._has_failed(message):
            self._timeline.echoes.remove(message)
            self._on_change()

    def _has_failed(self, message: Message) -> bool:
        return message.status is Status.FAILED and message in self._timeline.echoes

    def _deliver(self, message: Message) -> None:
        self._own(self._send(message))
        self._on_change()

    async def _send(self, message: Message) -> None:
        assert message.text is not None
        try:
            ack = await self._client.send(
                self._group, message.text, reply_to=message.reply_to, mentions=message.mentions or None,
                attributes=message.attributes, client_msg_id=message.client_msg_id,
            )  # fmt: skip
            if ack.seq is None:
                raise ChatError("internal", "an acknowledgement without a seq")
            self._timeline.acknowledged(message, ack.seq, ack.at)
        except AuerbachError as error:
            self._timeline.failed(message, error)
        except asyncio.CancelledError:
            self._timeline.failed(message, EndedError("the conversation is closed; the message may come all the same"))
            raise
        finally:
            self._on_change()
