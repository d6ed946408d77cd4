"""An old socket's outgoing messages: translated, and counted until the kernel has taken them (protocol §8)."""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from itertools import accumulate

from web.legacy.translation import Batch, Translations
from web.outbox import Outbox, Send

WAITING_MESSAGES = 1_000
# Presence is no message that anybody waits for: it must not be what fails a slow reader.
PRESENCE_WAITING = WAITING_MESSAGES // 2


class LegacyOutbox(Outbox):
    """An outbox that is given frames of events, as every subscription's is, and sends what old apps know of them.

    `on_slow` is called once, when 1,000 messages wait. The hub must not send to the socket itself: it would send
    events. So the subscription never tells it that it may (`on_front`).
    """

    __slots__ = ("_ends", "_pushed", "_translations", "_user", "written_at")

    # Their number is the limit; so many bytes are far beyond what a thousand texts take.
    live_limit_bytes = 64 * 1024 * 1024

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        user: str,
        translations: Translations,
        *,
        drain: Callable[[], Awaitable[None]],
        is_closed: Callable[[], bool],
        on_slow: Callable[[], None],
        held: set[Send],
    ) -> None:
        super().__init__(transport, drain=drain, is_closed=is_closed, on_slow=on_slow, held=held)
        self._user = user
        self._translations = translations
        self._pushed = transport.get_write_buffer_size()  # all bytes ever, the handshake's that wait included
        self._ends: list[int] = []  # of the messages that may wait: where each ends in what was pushed
        self.written_at = self._loop.time()

    def push(self, frame: bytes, *, live: bool = False) -> None:
        """Send what a frame of an event says."""
        del live  # all of them count
        self.send(self._translations.of_events(frame))

    def write(self, frames: bytes) -> None:
        """Send what the frames of a run say."""
        self.send(self._translations.of_events(frames))

    def send(self, batch: Batch) -> None:
        """Send messages, as far as this user is told them."""
        batch = batch.for_user(self._user)
        if not batch.sizes or self._stopped:
            return
        self._ends += accumulate(batch.sizes[1:], initial=self._pushed + batch.sizes[0])
        self._push(batch.frames, live=True)
        if len(self._ends) >= WAITING_MESSAGES and self.waiting() >= WAITING_MESSAGES:
            self.discard()
            self._on_slow()

    def offer(self, batch: Batch) -> bool:
        """Send messages that may be dropped, unless many wait; whether they were sent."""
        if len(self._ends) >= PRESENCE_WAITING and self.waiting() >= PRESENCE_WAITING:
            return False
        self.send(batch)
        return True

    def control(self, frame: bytes) -> None:
        """Send a ping or a pong."""
        if not self._stopped:
            self._push(frame, live=False)

    def waiting(self) -> int:
        """How many messages the kernel has not taken, a part of one counting as one; it is offered them first."""
        if self._pump is None and not self._stopped:
            self._flush()
        del self._ends[: bisect_right(self._ends, self._pushed - self.backlog)]
        return len(self._ends)

    def discard(self) -> None:
        """Forget what waits and take nothing more."""
        super().discard()
        self._ends.clear()

    def _push(self, frame: bytes, *, live: bool) -> None:
        self._pushed += len(frame)
        self.written_at = self._loop.time()
        super().push(frame, live=live)
