"""A subscription: one group's events in order, each once, none skipped, whatever the connection does.

Its cursor is the seq up to which everything was taken in. A frame at or below it is a repetition and dropped; the
next one is queued; a later one means that something is missing: the feed subscribes again from the cursor. The
queue is bounded. When it is full the feed stops reading the socket for a moment, and if that does not help, lets
the group go (`parked`) and takes it up again from the cursor once the consumer has caught up: nothing is lost, and
one slow consumer holds up neither the other groups nor the replies for longer than that moment.
"""

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, Self

from auerbach_client.answers import GroupState
from auerbach_client.errors import AuerbachError
from auerbach_client.frames import Event, Presence, Reset, Started, Withheld

Item = Event | Withheld | Reset


class Phase(enum.Enum):
    """Where a subscription stands."""

    NEW = "not asked for yet"
    WANTED = "asked for, or to be asked for once there is a connection"
    LIVE = "the server sends its run"
    PARKED = "let go while its consumer is behind"
    OVER = "closed, refused, or the membership ended"


class Source(Protocol):
    """What feeds subscriptions."""

    def resume(self, subscription: "Subscription") -> None:
        """Have the run sent, from where `start_fields` says."""

    def release(self, subscription: "Subscription") -> None:
        """Have nothing more sent, and forget the subscription."""


class Subscription(AsyncIterator[Item]):
    """The events of a group, for one consumer: `async for`, or `async with` it first.

    Iterating yields `Event`s, each seq once and in order; a `Withheld` in the place of events that the user may not
    read; and a `Reset` where everything before is void. It ends behind the event that ends the user's membership or
    the group, or when it or the client is closed. It raises `ChatError` if the server refuses it for good (the
    membership that ended meanwhile, say), and `EndedError` when the client is at its end. Leave it by `async with` or
    `aclose()`.

    Attributes:
        group: the group's id.
        head: the group's last seq when the server last said so; 0 before.
        state: the group's state at `head` of the first reply; None before, or if not wanted.
    """

    def __init__(
        self,
        group: str,
        *,
        after: int | None,
        last: int | None,
        log: str | None,
        with_state: bool,
        queue_events: int,
        source: Source,
    ) -> None:
        self.group = group
        self.head = 0
        self.state: GroupState | None = None
        self.phase = Phase.NEW
        self.cursor = after
        self.with_state = with_state
        self.attempts = 0
        self.asked: str | None = None
        self._since: float | None = None
        self._last = last
        # The log that the cursor belongs to, and what the consumer has taken of which log.
        self._log = log
        self._taken, self._taken_log = after, log
        self._source = source
        self._limit = queue_events
        self._queue: deque[Item] = deque()
        self._error: AuerbachError | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._opened = False
        # Told of the first state, of signals, and with None that some may have been missed.
        self.on_presence: Callable[[GroupState | Presence | None], None] = lambda _: None

    @property
    def position(self) -> int | None:
        """The seq up to which the consumer has taken events: `after` for a later subscription. None: not known yet."""
        return self._taken if self._queue else self.cursor

    @property
    def log(self) -> str | None:
        """The log's incarnation that `position` belongs to, `log` for a later subscription. None: not known yet."""
        return self._taken_log if self._queue else self._log

    async def __aenter__(self) -> Self:
        """Subscribe, and wait until the server has said yes: `head` and `state` are there.

        Raises:
            ChatError: it said no.
            EndedError: the client is at its end.
        """
        self._begin()
        while not self._opened and self.phase is not Phase.OVER:
            await self._change()
        if self._error is not None and not self._opened:
            raise self._error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribe; what is queued is dropped, and `position` stays before it."""
        self.cursor, self._log = self.position, self.log
        self._queue.clear()
        self._source.release(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self._begin()
        while not self._queue:
            if self._error is not None:
                raise self._error
            if self.phase is Phase.OVER:
                raise StopAsyncIteration
            if self.phase is Phase.PARKED:
                self._source.resume(self)
            await self._change()
        item = self._queue.popleft()
        self._taken, self._taken_log = _end(item), self._log  # all that is queued is of the cursor's log
        if len(self._queue) <= self._limit // 2:
            self._room.set()
        return item

    def _begin(self) -> None:
        if self.phase is Phase.NEW:
            self._since = asyncio.get_running_loop().time()
            self._source.resume(self)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # From here on: the feed's side.

    def waited_s(self) -> float:
        """The time since it was first asked for."""
        return 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since

    def start_fields(self) -> dict[str, Any]:
        """Where the run is to begin, as fields of `subscribe`."""
        if self.cursor is None:
            return {} if self._last is None else {"last": self._last}
        # Who holds nothing holds nothing of another log either.
        log = {"log": self._log} if self._log is not None and self.cursor > 0 else {}
        return {"after": self.cursor, **log}

    def accepted(self, started: Started, log: str) -> None:
        """The server's yes; its run follows."""
        if started.recovered:
            # Events of the run before may have come between our asking and this reply.
            self.cursor = max(self.cursor or 0, started.start - 1)
            if not self._queue:
                self._taken, self._taken_log = self.cursor, log
        else:
            self._queue.clear()
            self.cursor = started.start - 1
            self._put(Reset(self.group, started.start))
        if self.state is None and started.state is not None:
            self.state = started.state
            self.on_presence(started.state)
        elif self._opened:
            self.on_presence(None)
        self.head, self._log = started.seq, log
        self.phase, self.attempts, self._opened = Phase.LIVE, 0, True
        self._changed.set()

    def full(self) -> bool:
        """Whether there is no room for another event."""
        return len(self._queue) >= self._limit

    async def room(self) -> None:
        """Wait until the consumer has taken half of what is queued."""
        if self.full() and self.phase is not Phase.OVER:  # not so any more if this task begins late
            self._room.clear()
            await self._room.wait()

    def take(self, event: Event) -> bool:
        """Queue `event` if it is the next one; False if some before it are missing."""
        if self.cursor is None or event.seq > self.cursor + 1:
            return False
        if event.seq == self.cursor + 1:
            self.cursor = event.seq
            self._put(event)
        return True

    def skip(self, withheld: Withheld) -> bool:
        """Queue what is new of withheld events; False if some before them are missing."""
        if self.cursor is None or withheld.start > self.cursor + 1:
            return False
        if withheld.through > self.cursor:
            self._put(Withheld(self.group, self.cursor + 1, withheld.through))
            self.cursor = withheld.through
        return True

    def finish(self, error: AuerbachError | None = None) -> None:
        """Nothing more will come; what is queued is still delivered."""
        if self.phase is not Phase.OVER:
            self.phase, self._error = Phase.OVER, error
            self._changed.set()
            self._room.set()

    @property
    def opened(self) -> bool:
        """Whether the server ever said yes."""
        return self._opened

    def _put(self, item: Item) -> None:
        self._queue.append(item)
        self._changed.set()


def _end(item: Item) -> int:
    """The seq up to which everything is known to who has taken `item`."""
    match item:
        case Event():
            return item.seq
        case Withheld():
            return item.through
        case Reset():
            return item.start - 1
