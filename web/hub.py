"""Who follows which group here, and the fan-out of its events (design §5)."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.telemetry import logger
from web import metrics
from web.outbox import WINDOW_BYTES, Outbox

EVERYBODY = ""  # no user's id is empty
CHUNK = 1_000  # subscriptions served before the loop gets its turn
CHUNK_BYTES = 4_194_304  # and bytes
# What a group's followers get at a time, and the pause behind it when more is there: a batch of large events must not
# stand before a reader who keeps up as more than a slow one may leave waiting.
RUN_BYTES = 65_536
PAUSE_S = 0.002
# Beyond it there is no pause: what a group has waiting here is bounded by how fast the log is read (design I7).
WAITING_BYTES = 16_777_216

_log = logger("web")


@dataclass(slots=True, frozen=True)
class LiveEvent:
    """A valid event as it was read.

    `frame`: the whole frame, built once. `leaving`: whose run ends with it. `appended_at`: when the broker wrote it,
    seconds since 1970 by the broker's clock, None if it does not say.
    """

    seq: int
    frame: bytes
    leaving: str | None = None
    appended_at: float | None = None

    def ends(self, user: str) -> bool:
        """Whether this is the last event that `user` gets of the group."""
        return self.leaving in {user, EVERYBODY}


@dataclass(slots=True, frozen=True)
class Run:
    """Events of a group, each the next of the one before, that leave together.

    `frames`: all their frames, joined once for all sockets. `ends`: whether somebody's run ends with one of them.
    """

    events: list[LiveEvent]
    first: int
    last: int
    frames: bytes
    ends: bool

    @staticmethod
    def of(events: list[LiveEvent]) -> "Run":
        """The run of consecutive `events`, at least one."""
        frames = events[0].frame if len(events) == 1 else b"".join([event.frame for event in events])
        return Run(events, events[0].seq, events[-1].seq, frames, any(event.leaving is not None for event in events))


class _Leaving(msgspec.Struct, frozen=True):
    user: str


class _LeavingEvent(msgspec.Struct, frozen=True):
    data: _Leaving


_leaving_decoder = msgspec.json.Decoder(_LeavingEvent)


def leaving_user(kind: str, value: bytes | msgspec.Raw) -> str | None:
    """Whose membership, and so subscription, an event ends (protocol §4); `value` is its JSON.

    With a group's life all of its members' end: a later life is nothing that anybody subscribed to.
    """
    if kind == "group.deleted":
        return EVERYBODY
    if kind not in {"member.left", "member.removed"}:
        return None
    return _leaving_decoder.decode(value).data.user


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

    def resume(self, cursor: int) -> None:
        """Everything up to `cursor` was written for it; what comes after goes through `on_run` again."""

    def lost(self) -> None:
        """It could not take an event: its run is broken."""


class _Group:
    """The followers of one group.

    Those in `front` have been sent everything up to `cursor` and nothing waits for them: the next run is written to
    their transports here. It is all that nearly every frame costs (design §5); whatever is unusual goes through
    `on_run`. `giving`: the run that is being given out.
    """

    __slots__ = ("cursor", "followers", "front", "giving", "waiting")

    def __init__(self) -> None:
        self.followers: dict[Follower, None] = {}
        self.front: dict[asyncio.WriteTransport, Follower] = {}
        self.cursor = 0
        self.giving: Run | None = None
        self.waiting: deque[LiveEvent] | None = None  # behind the run that a pump gives out

    def __len__(self) -> int:
        return len(self.followers) + len(self.front)

    def retreat(self, followers: Iterable[Follower]) -> None:
        """Take followers out of the front."""
        for follower in followers:
            del self.front[follower.outbox.transport]
            self.followers[follower] = None
            follower.resume(self.cursor)


class Hub:
    """The followers of each group, by the group's Kafka key.

    Events that are published in one turn of the loop are given out together, when `flush` is called or the loop turns.
    `held`: transports that are not to be written to here, as their outboxes say.
    """

    def __init__(self) -> None:
        self.held: set[asyncio.WriteTransport] = set()
        self._groups: dict[bytes, _Group] = {}
        self._published: dict[bytes, list[LiveEvent]] = {}
        self._pumps: set[asyncio.Task[None]] = set()
        self._closing = False

    def follows(self, key: bytes) -> bool:
        """Whether anybody here follows the group."""
        return key in self._groups

    def follow(self, key: bytes, follower: Follower) -> None:
        """From now on `follower` gets the group's events."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
            metrics.FOLLOWED.set(len(self._groups))
        group.followers[follower] = None

    def advance(self, follower: Follower, cursor: int) -> None:
        """Everything up to `cursor` was written for a follower: what comes next may be written here, if it can be."""
        group = self._groups.get(follower.group.encode())
        outbox = follower.outbox
        if group is None or follower not in group.followers or not outbox.idle or outbox.transport in self.held:
            return
        # It must be where the others are, and where a run is being given out it must have had its turn.
        if group.front and cursor != group.cursor:
            return
        if group.giving is not None and cursor != group.giving.last:
            return
        del group.followers[follower]
        group.front[outbox.transport] = follower
        group.cursor = cursor

    def unfollow(self, key: bytes, follower: Follower) -> None:
        """`follower` gets no more of them; nothing happens if it does not follow."""
        group = self._groups.get(key)
        if group is None:
            return
        if follower in group.followers:
            del group.followers[follower]
        elif group.front.get(follower.outbox.transport) is follower:
            del group.front[follower.outbox.transport]
        if not len(group):
            del self._groups[key]
            metrics.FOLLOWED.set(len(self._groups))

    def publish(self, key: bytes, event: LiveEvent) -> None:
        """Give `event` to all who follow, after what was published before it."""
        if key not in self._groups:
            return
        if not self._published:
            asyncio.get_running_loop().call_soon(self.flush)
        self._published.setdefault(key, []).append(event)

    def flush(self) -> None:
        """Give out what was published: little at once, much chunk by chunk, so that the loop is not held."""
        published, self._published = self._published, {}
        for key, events in published.items():
            group = self._groups.get(key)
            if group is None:
                continue
            if group.waiting is not None:
                group.waiting.extend(events)
                continue
            waiting = deque(events)
            run = _next_run(waiting)
            if not waiting and len(group) <= _chunk(run):
                for _ in self._chunks(group, run):
                    pass
            else:
                group.waiting = waiting
                pump = asyncio.create_task(self._pump(group, run, waiting))
                self._pumps.add(pump)
                pump.add_done_callback(self._pumps.discard)

    async def close(self) -> None:
        """Wait until what was published is given out."""
        self.flush()
        self._closing = True
        await asyncio.gather(*self._pumps)

    async def _pump(self, group: _Group, run: Run, waiting: deque[LiveEvent]) -> None:
        while True:
            for _ in self._chunks(group, run):
                await asyncio.sleep(0)
            if not waiting:
                break
            if not self._closing and len(waiting) * len(run.frames) < WAITING_BYTES * len(run.events):
                await asyncio.sleep(PAUSE_S)
            run = _next_run(waiting)
        group.waiting = None

    def _chunks(self, group: _Group, run: Run) -> Iterator[None]:
        """Give `run` to all; the loop may turn where this yields."""
        if group.front and (run.ends or run.first != group.cursor + 1):
            group.retreat(list(group.front.values()))
        elif self.held and group.front:
            group.retreat([group.front[transport] for transport in self.held & group.front.keys()])
        if group.front:
            group.cursor = run.last
        group.giving = run
        try:
            chunk = _chunk(run)
            front, followers = list(group.front.items()), list(group.followers)
            for start in range(0, len(front), chunk):
                # Not to those who have left since: a CLOSE may be on its way, or another subscription begun.
                part = [t for t, follower in front[start : start + chunk] if group.front.get(t) is follower]
                self._write(group, part, run)
                yield
            for start in range(0, len(followers), chunk):
                _give(followers[start : start + chunk], run)
                yield
        finally:
            group.giving = None

    def _write(self, group: _Group, transports: list[asyncio.WriteTransport], run: Run) -> None:
        frames = run.frames
        filled = []
        for transport in transports:
            try:  # inside the loop: uvloop raises for a transport that has just gone, and the others come after it
                transport.write(frames)
                if transport.get_write_buffer_size() >= WINDOW_BYTES:
                    filled.append(transport)
            except (RuntimeError, OSError):
                group.front[transport].outbox.discard()
        for transport in filled:
            group.front[transport].outbox.filled()
        metrics.FRAMES.inc(len(transports) * len(run.events))


def _next_run(waiting: deque[LiveEvent]) -> Run:
    """Take the events that may leave together, at least one."""
    taken = [waiting.popleft()]
    size = len(taken[0].frame)
    while waiting and waiting[0].seq == taken[-1].seq + 1 and size + len(waiting[0].frame) <= RUN_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1].frame)
    return Run.of(taken)


def _chunk(run: Run) -> int:
    """How many subscriptions are served before the loop gets its turn."""
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, len(run.frames))))


def _give(followers: list[Follower], run: Run) -> None:
    for follower in followers:
        try:
            follower.on_run(run)
        except Exception:  # noqa: BLE001 - an edge: one broken socket must not end the fan-out for the rest
            metrics.ERRORS.labels("fan_out").inc()
            _log.exception("an event could not be given to a socket")
            follower.lost()
