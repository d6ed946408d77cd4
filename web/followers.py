"""The followers of one group, and how its events get to them at the cost of little more than the writes (design §5)."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from app.telemetry import logger
from web import metrics
from web.live_events import LiveEvent, Run
from web.outbox import Outbox, Send
from web.presence_change import PresenceChange

CHUNK = 1_000  # subscriptions served before the loop gets its turn
CHUNK_BYTES = 4_194_304  # and bytes

_log = logger("web")

# What each socket gets of several groups.
Gathered = dict[Outbox, list[bytes]]


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
    """Those in front have been sent everything up to one seq and nothing waits for them: the next run is sent to their
    sockets here. That is nearly every frame; whatever is unusual goes through `on_run` of those behind.

    `held`: those who must not be sent to here, as their outboxes say. `waiting`: the events behind the run that is
    being given out bit by bit, None when none is.
    """

    __slots__ = ("_behind", "_cursor", "_front", "_giving", "_held", "waiting")

    def __init__(self, held: set[Send]) -> None:
        self._held = held
        self._front: dict[Send, Follower] = {}
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
        elif follower.outbox.sock_send is not None and self._front.get(follower.outbox.sock_send) is follower:
            del self._front[follower.outbox.sock_send]

    def advance(self, follower: Follower, cursor: int) -> None:
        """Take `follower`, for whom everything up to `cursor` was written, to the front, if it can be."""
        if follower not in self._behind:
            return
        # It must be where the others are, and where a run is being given out it must have had its turn.
        if self._front and cursor != self._cursor:
            return
        if self._giving is not None and cursor != self._giving.last:
            return
        send = follower.outbox.direct()
        if send is None:
            return
        del self._behind[follower]
        self._front[send] = follower
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
        try:
            chunk = _chunk(run)
            behind = list(self._behind)
            if gathered is not None:
                _gather(self._front.values(), run, gathered)
            elif len(self._front) <= chunk:
                self._write(self._front, run)  # no copy: looking at a thousand followers costs as much as a few writes
            else:
                yield from self._write_in_chunks(chunk, run)
            for start in range(0, len(behind), chunk):
                yield
                _tell(behind[start : start + chunk], run)
        finally:
            self._giving = None

    def _write_in_chunks(self, chunk: int, run: Run) -> Iterator[None]:
        sends, front = list(self._front), list(self._front.values())
        self._write(sends[:chunk], run)
        for start in range(chunk, len(front), chunk):
            yield
            # Not to those who have left since: a CLOSE may be on its way, or another subscription begun.
            pairs = zip(sends[start : start + chunk], front[start : start + chunk], strict=True)
            rest = {send: each for send, each in pairs if self._front.get(send) is each}
            # Nor past what has come to wait since: the reader may have made room that the transport does not know of.
            late = [self._fall_behind(send, run.first - 1) for send in self._held & rest.keys()]
            self._write([send for send in rest if send in self._front], run)
            _tell(late, run)

    def _retreat(self, run: Run) -> None:
        """Take out of the front whoever cannot have `run` written there."""
        leaving: Iterable[Send] = ()
        if run.ends or run.first != self._cursor + 1:
            leaving = list(self._front)
        elif self._held:
            leaving = self._held & self._front.keys()
        for send in leaving:
            self._fall_behind(send, self._cursor)

    def _fall_behind(self, send: Send, cursor: int) -> Follower:
        """Take a follower, to whom everything up to `cursor` was sent, out of the front."""
        follower = self._front.pop(send)
        self._behind[follower] = None
        follower.resume(cursor)
        return follower

    def _write(self, sends: Collection[Send], run: Run) -> None:
        """Send to the sockets; what can be left out here is, because a frame costs little more than this."""
        frames = run.frames
        size = len(frames)
        for send in sends:
            try:  # inside the loop: one that has just gone raises, and others come after it
                sent = send(frames)
                if sent != size:
                    self._front[send].outbox.take_over(frames[sent:])
            except BlockingIOError:
                self._front[send].outbox.take_over(frames)
            except OSError:
                self._front[send].outbox.discard()
        metrics.count_events(run, len(sends))


def _gather(front: Collection[Follower], run: Run, gathered: Gathered) -> None:
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
