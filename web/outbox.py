"""One socket's outgoing bytes: frames of one tick leave as one write, and a slow reader costs only itself.

Frames go to the transport directly (design §5, measured). What aiohttp did on the way is done here: nothing is
written once the socket's own CLOSE may be under way, and a dead transport's errors end here. Where nothing waits, not
even in the transport, the hub goes past it, too (ADR 022).
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from web import metrics

LIVE_LIMIT_BYTES = 1_048_576
# What the transport may hold before frames stay here: here they are shared with the other sockets of the group,
# and can still be thrown away.
WINDOW_BYTES = 65_536
ANSWERS_BYTES = 4 * WINDOW_BYTES

# A socket's `send(2)`: how many bytes the kernel took.
Send = Callable[[bytes], int]


class Outbox:
    """Frames for one socket, in order.

    `drain` waits until the transport has room; `is_closed` says whether a CLOSE was or is being sent; `on_slow`
    is called once when more than 1 MiB of live frames wait (protocol §6, 4408). Replies and replayed events are
    paced by those who write them (`drained`), and do not count (protocol §9).

    The hub sends to the socket itself where it may (`direct`). While `sock_send` is in `held` it must not: what waits
    here or in the transport comes first, or the outbox has ended with frames that were not written.
    """

    __slots__ = (
        "_drain",
        "_duplicate",
        "_flush_due",
        "_held",
        "_is_closed",
        "_live",
        "_loop",
        "_moved",
        "_on_slow",
        "_pump",
        "_stopped",
        "_waiting",
        "_waiting_bytes",
        "sock_send",
        "transport",
    )

    live_limit_bytes = LIVE_LIMIT_BYTES

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        *,
        drain: Callable[[], Awaitable[None]],
        is_closed: Callable[[], bool],
        on_slow: Callable[[], None],
        held: set[Send] | None = None,
    ) -> None:
        transport.set_write_buffer_limits(high=0)  # `drain` waits until the kernel has all that was written
        self.transport = transport
        self.sock_send: Send | None = None
        self._duplicate: socket.socket | None = None
        self._drain = drain
        self._is_closed = is_closed
        self._on_slow = on_slow
        self._held = held if held is not None else set()
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[bytes, bool]] = []  # an empty deque would be most of what an idle socket costs us
        self._waiting_bytes = 0
        self._live = 0
        self._flush_due = False
        self._pump: asyncio.Task[None] | None = None
        self._moved: asyncio.Future[None] | None = None
        self._stopped = False

    @property
    def backlog(self) -> int:
        """Bytes that the kernel has not taken yet."""
        if self._stopped:
            return 0
        return self._waiting_bytes + self.transport.get_write_buffer_size()

    @property
    def idle(self) -> bool:
        """Whether nothing waits here, nor in the transport of what was given to it: what is written now comes last."""
        return not (self._waiting or self._stopped or self._pump is not None)

    def direct(self) -> Send | None:
        """The way to the kernel past the transport, for who keeps to `held`; None if there is none, or not now.

        It is a descriptor of its own: the transport's may be another connection's by the time that we hear of its end.
        """
        if not self.idle or self.transport.get_write_buffer_size():  # the answer to an earlier request, with aiohttp
            return None
        if self.sock_send is None:
            connection = self.transport.get_extra_info("socket")
            if connection is None or self.transport.get_extra_info("sslcontext") is not None:
                return None
            try:
                self._duplicate = connection.dup()
            except OSError:
                return None  # no descriptor is left: it goes through the transport
            self.sock_send = self._duplicate.send
        return self.sock_send

    def push(self, frame: bytes, *, live: bool = False) -> None:
        """Send `frame` at the end of this tick, or when the reader has made room."""
        if self._stopped:
            return
        self._waiting.append((frame, live))
        self._waiting_bytes += len(frame)
        if live:
            self._live += len(frame)
            if self._live > self.live_limit_bytes:
                self.discard()
                self._on_slow()
                return
        if not self._flush_due and self._pump is None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    async def drained(self) -> None:
        """Wait until at most a window of bytes waits: who writes a replay is paced by the reader."""
        while self.backlog > WINDOW_BYTES:
            await self._progress()

    async def answered(self) -> None:
        """Wait until few bytes besides live frames wait: who asks faster than it reads is not read from meanwhile."""
        while self.backlog - self._live > ANSWERS_BYTES:
            await self._progress()

    def finish(self) -> None:
        """Hand everything over at once and take nothing more: a CLOSE follows."""
        if not self._stopped:
            self._write(self._waiting_bytes)
            self.discard()

    def write(self, frames: bytes) -> None:
        """Send live frames: now where nothing waits, else behind it."""
        if self._waiting and self._pump is None:
            # Else the group's next run, which goes to the transport directly, would come before this one. What does
            # not leave now keeps the transport held.
            self._flush()
        if not self.idle:
            self.push(frames, live=True)
        elif self._is_closed():
            self.discard()
        else:
            self.take_over(frames)

    def take_over(self, rest: bytes) -> None:
        """Write what the kernel did not take of frames that were sent directly; what follows waits behind it."""
        if self._stopped:
            return
        if self.transport.is_closing():
            # After an `abort` it drops what it is given, and says nothing: with a second descriptor the reader would
            # get the rest of the run behind the hole.
            self.discard()
            return
        try:
            self.transport.write(rest)
        except (RuntimeError, OSError):
            self.discard()
            return
        if self.transport.get_write_buffer_size():
            self._start_pump()

    def leave(self) -> None:
        """The socket is in no hub any more, and nothing is written to it."""
        self.discard()
        if self.sock_send is not None:
            self._held.discard(self.sock_send)
        self._held = set()

    def discard(self) -> None:
        """Forget what waits and take nothing more."""
        self._stopped = True
        self._hold()
        if self._duplicate is not None:
            self._duplicate.close()  # the connection ends when both descriptors are closed
        self._waiting.clear()
        self._waiting_bytes = self._live = 0
        self._tell_progress()

    async def _progress(self) -> None:
        """Wait until the reader has taken something, or the outbox has ended."""
        if self._moved is None:
            self._moved = self._loop.create_future()
        self._start_pump()
        # Shared by all who wait: cancelling one of them must not end it for the rest.
        await asyncio.shield(self._moved)

    def _tell_progress(self) -> None:
        moved, self._moved = self._moved, None
        if moved is not None:
            moved.set_result(None)

    def _flush(self) -> None:
        self._flush_due = False
        if self._pump is None and not self._stopped:
            self._write(WINDOW_BYTES - self.transport.get_write_buffer_size())
            if self.backlog:
                self._start_pump()

    def _hold(self) -> None:
        if self.sock_send is not None:
            self._held.add(self.sock_send)

    def _start_pump(self) -> None:
        if self._pump is None:
            self._hold()
            metrics.SLOW_SOCKETS.inc()
            self._pump = self._loop.create_task(self._run_pump())
            self._pump.add_done_callback(_one_fewer)  # it counts even if it is cancelled before it begins

    async def _run_pump(self) -> None:
        """Write as the reader makes room, until nothing waits here or in the transport."""
        try:
            while self.backlog:
                self._write(WINDOW_BYTES - self.transport.get_write_buffer_size())
                await self._drain()
                self._tell_progress()
                await asyncio.sleep(0)  # a kernel that takes everything must not let one socket hold the loop
            if self.transport.is_closing():
                self.discard()  # what waited there may be lost
        except (RuntimeError, OSError):
            self.discard()
        finally:
            self._pump = None
            # Not where it was cancelled: what waits is still to come first.
            if not self._stopped and not self.backlog and self.sock_send is not None:
                self._held.discard(self.sock_send)
            self._tell_progress()

    def _write(self, room: int) -> None:
        """Write whole frames until `room` bytes are used up; the last one may go beyond."""
        taken = []
        for frame, live in self._waiting:
            if room <= 0:
                break
            taken.append(frame)
            size = len(frame)
            room -= size
            self._waiting_bytes -= size
            if live:
                self._live -= size
        del self._waiting[: len(taken)]
        if not taken:
            return
        if self._is_closed() or self.transport.is_closing():
            self.discard()
            return
        try:
            self.transport.write(taken[0] if len(taken) == 1 else b"".join(taken))
        except (RuntimeError, OSError):
            self.discard()  # uvloop raises for a transport that has just gone: its handler is ending


def _one_fewer(_: object) -> None:
    metrics.SLOW_SOCKETS.dec()
