"""One subscription: a replay and the live events after it, one unbroken run (protocol §4, design I5, I9).

The run is joined by what counts in the log: the hub gives every valid event that was read since this subscription
was registered, and the registration came before the end offset that the owner's answer covers. So each seq after
the answer's head is either in the buffer or still to come, and a seq that is missing in between can only have been
pushed out of the buffer: it is fetched.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from app.reads import Answer
from app.telemetry import logger
from web import metrics
from web.frames import text_frame
from web.live_events import EVERYBODY, LiveEvent, Run, leaving_user
from web.outbox import WINDOW_BYTES, Outbox
from web.presence_change import PresenceChange
from web.reads_client import UnavailableError

BUFFER_EVENTS = 1_000
BUFFER_BYTES = 256 * 1024

# (after, through) → a page of the events in between.
Fetch = Callable[[int, int], Awaitable[Answer]]
OnEnd = Callable[["Subscription", str | None], None]
OnFront = Callable[["Subscription", int], None]

_log = logger("web")


def _stays(_subscription: "Subscription", _cursor: int) -> None:
    """Nobody but the subscription writes its events."""


class BrokenRunError(Exception):
    """What came from the owner does not continue the run."""


class _Span(msgspec.Struct, rename={"since": "from"}):
    """The seqs that a replayed frame stands for: an event's own, or those withheld."""

    kind: str = ""
    seq: int = 0
    since: int = 0
    through: int = 0


_span_decoder = msgspec.json.Decoder(_Span)


class Subscription:
    """A run of one group's events on one socket.

    `on_end` is called when the run ends by itself: with None after the event that ended the membership or the group,
    with a reason when it cannot go on unbroken (the socket is to be closed with 4409).
    """

    def __init__(
        self,
        group: str,
        user: str,
        outbox: Outbox,
        *,
        fetch: Fetch,
        pages: asyncio.Semaphore,
        on_end: OnEnd,
        on_front: OnFront = _stays,
    ) -> None:
        """`pages` bounds the pages of this socket's replays that are in memory at a time.

        `on_front` is told when nothing is left between the run and the live events, and up to which seq it is written.
        """
        self.group = group
        self._user = user
        self.outbox = outbox
        self._fetch = fetch
        self._pages = pages
        self._on_end = on_end
        self._on_front = on_front
        self._cursor = 0  # the last seq that was written
        self._head = 0  # what the owner said when it let this user in: membership may end only after it
        self._begun = False
        self._live = False
        self._ended = False
        self._buffer: list[LiveEvent] = []  # seldom used, and a socket may have a thousand of these: no deque
        self._buffered_bytes = 0
        self._replay: asyncio.Task[None] | None = None

    def begin(self, answer: Answer) -> None:
        """Follow up the reply that was just written: the events from `answer.start` on, then live ones."""
        self._cursor = min(answer.start, answer.seq + 1) - 1
        self._head = answer.seq
        self._begun = True
        self._start_replay(answer, answer.seq)

    def on_run(self, run: Run) -> None:
        """The next valid events of the group that were read."""
        if self._live and run.first == self._cursor + 1 and not run.ends:
            self._cursor = run.last
            self.outbox.write(run.frames)
            metrics.count_events(run, 1)
            self._on_front(self, self._cursor)
            return
        for event in run.events:
            self.on_live(event)

    def on_presence(self, change: PresenceChange) -> None:
        """Who came and went: nothing to whom the reply did not say yet who is there, nor to who is slow."""
        if not self._begun or self._ended or self.outbox.backlog > WINDOW_BYTES:
            return
        frame = change.frame_for(self._user)
        if frame is not None:
            self.outbox.write(frame)

    def resume(self, cursor: int) -> None:
        """The hub has written everything up to `cursor`, and gives the events after it here again."""
        self._cursor = cursor

    def on_live(self, event: LiveEvent) -> None:
        """The next valid event of the group that was read."""
        if self._ended:
            return
        if not self._live:
            self._keep(event)
        elif event.seq == self._cursor + 1:
            self._deliver(event, live=True)
        elif event.seq > self._cursor:
            metrics.GAPS.inc()
            self._live = False
            self._keep(event)
            self._start_replay(None, event.seq - 1)

    def lost(self) -> None:
        """An event could not be taken."""
        self._finish("an event could not be delivered")

    def end(self) -> None:
        """Nothing more is written."""
        self._ended = True
        self._live = False
        self._buffer.clear()
        if self._replay is not None and self._replay is not asyncio.current_task():
            self._replay.cancel()

    def _keep(self, event: LiveEvent) -> None:
        """Put a live event behind the replay; the oldest ones give way, and are fetched when their turn comes."""
        self._buffer.append(event)
        self._buffered_bytes += len(event.frame)
        while len(self._buffer) > BUFFER_EVENTS or (self._buffered_bytes > BUFFER_BYTES and len(self._buffer) > 1):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._buffered_bytes -= len(self._buffer.pop(0).frame)

    def _deliver(self, event: LiveEvent, *, live: bool) -> None:
        self.outbox.push(event.frame, live=live)
        self._cursor = event.seq
        metrics.FRAMES.inc()
        metrics.BYTES.inc(len(event.frame))
        if event.ends(self._user):
            self._finish(None)

    def _finish(self, why: str | None) -> None:
        if not self._ended:
            self.end()
            self._on_end(self, why)

    def _start_replay(self, page: Answer | None, head: int) -> None:
        self._replay = asyncio.create_task(self._run_replay(page, head))

    async def _run_replay(self, page: Answer | None, head: int) -> None:
        try:
            await self._replay_through(page, head)
        except UnavailableError:
            self._finish("the group's owner cannot be reached")
        except Exception as broken:  # noqa: BLE001 - an edge: counted, logged, and the socket closes
            metrics.ERRORS.labels("replay").inc()
            _log.exception("a replay cannot go on", group=self.group)
            self._finish(str(broken))
        finally:
            if self._replay is asyncio.current_task():
                self._replay = None

    async def _replay_through(self, page: Answer | None, head: int) -> None:
        if page is not None and page.frames:
            async with self._pages:
                await self._write(page)
        while not self._ended:
            if self._cursor >= head:
                gap = await self._write_buffer()
                if gap is None:
                    return
                head = gap
            async with self._pages:
                page = await self._fetch(self._cursor, head)
                if page.refusal is not None:
                    # Membership was lost before the replay got there: what lies between can be read no more.
                    self._finish(page.refusal.code)
                    return
                before = self._cursor
                await self._write(page)
                if self._cursor == before and not self._ended:
                    raise BrokenRunError(f"no event after {before}")

    async def _write(self, page: Answer) -> None:
        """Write a page's frames at the reader's pace."""
        for raw in page.frames:
            span = _span_decoder.decode(raw)
            first, last = (span.seq, span.seq) if span.seq else (span.since, span.through)
            if first != self._cursor + 1:
                raise BrokenRunError(f"{first} after {self._cursor}")
            await self.outbox.drained()
            if self._ended:
                return
            self.outbox.push(text_frame(bytes(raw)))
            self._cursor = last
            if last > self._head and leaving_user(span.kind, raw) in {self._user, EVERYBODY}:
                self._finish(None)
                return

    async def _write_buffer(self) -> int | None:
        """Write what was buffered, at the reader's pace too, and go live when nothing is left of it.

        If the buffer does not continue the run: the last seq that must be fetched first.
        """
        while not self._ended:
            while self._buffer and self._buffer[0].seq <= self._cursor:
                self._drop_oldest()
            if not self._buffer:
                self._live = True
                self._on_front(self, self._cursor)
                return None
            if self._buffer[0].seq > self._cursor + 1:
                return self._buffer[0].seq - 1
            event = self._buffer[0]
            await self.outbox.drained()  # the buffer moves on meanwhile, but this event is the next one
            if not self._ended:
                self._deliver(event, live=False)
        return None
