"""The followers of one group, and how its events get to them at the cost of little more than the writes (design §5)."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from app.telemetry import logger
from web import metrics
from web.live_events import LiveEvent, Run
from web.outbox import WINDOW_BYTES, Outbox
from web.presence_change import PresenceChange

CHUNK = 1_000  # subscriptions served before the loop gets its turn
CHUNK_BYTES = 4_194_304  # and bytes
# After so many bytes to whomever, what transports could not write is looked at: each look costs a tenth of a frame.
LOOK_BYTES = 16_384

_log = logger("web")

# What each socket gets of several groups.
Gathered = dict[Outbox, list[bytes]]


class Given:
    """How many bytes a hub has given out, over all groups: each event's once."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Follower(Protocol):
    """A subscription, as the hub sees it."""

    @property
    def group(self) -> str:
        """Whose events it gets."""

    @property
    def outbox(self) -> Outbox:
        """Where it writes them."""

    def on_run(self, run: Run) -> None:
        """The group's next events; must not wait."""

    def on_presence(self, change: PresenceChange) -> None:
        """Who came and went; must not wait, and may be dropped."""

    def resume(self, cursor: int) -> None:
        """Everything up to `cursor` was written for it; what comes after goes through `on_run` again."""

    def lost(self) -> None:
        """It could not take an event: its run is broken."""


class Followers:
    """Those in front have been sent everything up to one seq and nothing waits for them: the next run is written to
    their transports here. That is nearly every frame; whatever is unusual goes through `on_run` of those behind.

    `held`: the transports that must not be written to here, as their outboxes say. `waiting`: the events behind the
    run that is being given out bit by bit, None when none is.
    """

    __slots__ = ("_behind", "_cursor", "_front", "_given", "_giving", "_held", "_looked_at", "waiting")

    def __init__(self, held: set[asyncio.WriteTransport], given: Given) -> None:
        self._held = held
        self._given = given
        self._looked_at = given.size - LOOK_BYTES
        self._front: dict[asyncio.WriteTransport, Follower] = {}
        self._cursor = 0  # of those in front
        self._behind: dict[Follower, None] = {}
        self._giving: Run | None = None
        self.waiting: deque[LiveEvent] | None = None

    def __len__(self) -> int:
        return len(self._behind) + len(self._front)

    def add(self, follower: Follower) -> None:
        """From now on `follower` gets the group's events."""
        self._behind[follower] = None

    def remove(self, follower: Follower) -> None:
        """`follower` gets no more of them; nothing happens if it does not follow."""
        if follower in self._behind:
            del self._behind[follower]
        elif self._front.get(follower.outbox.transport) is follower:
            del self._front[follower.outbox.transport]

    def advance(self, follower: Follower, cursor: int) -> None:
        """Take `follower`, for whom everything up to `cursor` was written, to the front, if it can be."""
        outbox = follower.outbox
        if follower not in self._behind or not outbox.idle or outbox.transport in self._held:
            return
        # It must be where the others are, and where a run is being given out it must have had its turn.
        if self._front and cursor != self._cursor:
            return
        if self._giving is not None and cursor != self._giving.last:
            return
        del self._behind[follower]
        self._front[outbox.transport] = follower
        self._cursor = cursor

    def lose(self) -> None:
        """Break the run of everybody: it may lack an event."""
        for follower in [*self._front.values(), *self._behind]:
            follower.lost()

    def signal(self, change: PresenceChange) -> Iterator[None]:
        """Tell all who came and went; the loop may turn where this yields. Signals have no place among the events."""
        followers = [*self._front.values(), *self._behind]
        for start in range(0, len(followers), CHUNK):
            if start:
                yield
            for follower in followers[start : start + CHUNK]:
                try:
                    follower.on_presence(change)
                except Exception:  # noqa: BLE001 - an edge: one broken socket must not end the fan-out for the rest
                    metrics.ERRORS.labels("presence").inc()
                    _log.exception("a signal could not be given to a socket")

    def give_in_one(self, run: Run, gathered: Gathered | None) -> bool:
        """Give `run` to all at once, unless they are too many for a turn of the loop: then it is not begun, and False.

        With `gathered`, what those in front get is put there, and the caller's to write.
        """
        if len(self) > _chunk(run):
            return False
        for _ in self._give(run, gathered):
            pass
        return True

    def give(self, run: Run) -> Iterator[None]:
        """Give `run` to all; the loop may turn where this yields."""
        return self._give(run, None)

    def _give(self, run: Run, gathered: Gathered | None) -> Iterator[None]:
        self._retreat(run)
        if self._front:
            self._cursor = run.last
        self._giving = run
        look = self._is_time_to_look(run)
        try:
            chunk = _chunk(run)
            # No pairs: a thousand new tuples an event would set the cycle collector off each time.
            transports, front, behind = list(self._front), list(self._front.values()), list(self._behind)
            if gathered is None:
                self._write(transports[:chunk], run, look)
            else:
                _gather(front, run, gathered)
            for start in range(chunk, len(front), chunk):
                yield
                # Not to those who have left since: a CLOSE may be on its way, or another subscription begun.
                rest = zip(transports[start : start + chunk], front[start : start + chunk], strict=True)
                self._write([transport for transport, each in rest if self._front.get(transport) is each], run, look)
            for start in range(0, len(behind), chunk):
                yield
                _tell(behind[start : start + chunk], run)
        finally:
            self._giving = None

    def _is_time_to_look(self, run: Run) -> bool:
        self._given.size += len(run.frames)
        if self._given.size - self._looked_at < LOOK_BYTES:
            return False
        self._looked_at = self._given.size
        return True

    def _retreat(self, run: Run) -> None:
        """Take out of the front whoever cannot have `run` written there."""
        leaving: Iterable[asyncio.WriteTransport] = ()
        if run.ends or run.first != self._cursor + 1:
            leaving = list(self._front)
        elif self._held:
            leaving = self._held & self._front.keys()
        for transport in leaving:
            follower = self._front.pop(transport)
            self._behind[follower] = None
            follower.resume(self._cursor)

    def _write(self, transports: list[asyncio.WriteTransport], run: Run, look: bool) -> None:
        """Write to the sockets; what can be left out here is, because a frame costs little more than this."""
        frames = run.frames
        for transport in transports:
            try:  # inside the loop: uvloop raises for a transport that has just gone, and others come after it
                transport.write(frames)
            except (RuntimeError, OSError):
                self._front[transport].outbox.discard()
        if look:
            for transport in transports:
                if transport.get_write_buffer_size() >= WINDOW_BYTES:
                    self._front[transport].outbox.filled()
        metrics.count_events(run, len(transports))


def _gather(front: list[Follower], run: Run, gathered: Gathered) -> None:
    for follower in front:
        gathered.setdefault(follower.outbox, []).append(run.frames)
    metrics.count_events(run, len(front))


def _tell(followers: list[Follower], run: Run) -> None:
    for follower in followers:
        try:
            follower.on_run(run)
        except Exception:  # noqa: BLE001 - an edge: one broken socket must not end the fan-out for the rest
            metrics.ERRORS.labels("fan_out").inc()
            _log.exception("an event could not be given to a socket")
            follower.lost()


def _chunk(run: Run) -> int:
    """How many subscriptions are served before the loop gets its turn."""
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, len(run.frames))))
