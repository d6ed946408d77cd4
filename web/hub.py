"""Who follows which group here, and the fan-out of its events (design §5)."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from app.telemetry import logger
from web import metrics
from web.followers import Follower, Followers, Gathered
from web.live_events import RUN_BYTES, LiveEvent, Run, next_run
from web.outbox import Send
from web.presence_change import PresenceChange

# Between two runs of one group, and between groups that begin at once: see RUN_BYTES.
PAUSE_S = 0.002
# Beyond it there is no pause: what a group has waiting here is bounded by how fast the log is read (design I7).
WAITING_BYTES = 16_777_216

_log = logger("web")


class Hub:
    """The followers of each group, by the group's Kafka key.

    Events that are published in one turn of the loop are given out together, when `flush` is called or the loop turns.
    `held`: sockets that are not to be sent to here; their outboxes put them there. `on_followed` is told when a
    group gets its first follower, and when it has lost its last one.
    """

    def __init__(self) -> None:
        self.held: set[Send] = set()
        self.on_followed: Callable[[str, bool], None] = lambda _group, _is_followed: None
        self._groups: dict[bytes, Followers] = {}
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
            group = self._groups[key] = Followers(self.held)
            metrics.FOLLOWED.set(len(self._groups))
            self.on_followed(key.decode(), True)
        group.add(follower)

    def advance(self, follower: Follower, cursor: int) -> None:
        """Everything up to `cursor` was written for a follower: what comes next may be written here."""
        group = self._groups.get(follower.group.encode())
        if group is not None:
            group.advance(follower, cursor)

    def unfollow(self, key: bytes, follower: Follower) -> None:
        """`follower` gets no more of them; nothing happens if it does not follow."""
        group = self._groups.get(key)
        if group is None:
            return
        group.remove(follower)
        if not len(group):
            del self._groups[key]
            metrics.FOLLOWED.set(len(self._groups))
            self.on_followed(key.decode(), False)

    def publish(self, key: bytes, event: LiveEvent) -> None:
        """Give `event` to all who follow, after what was published before it."""
        if key not in self._groups:
            return
        if not self._published:
            asyncio.get_running_loop().call_soon(self.flush)
        self._published.setdefault(key, []).append(event)

    def signal(self, change: PresenceChange) -> None:
        """Tell the group's followers who came and went: a thousand at once, more bit by bit."""
        group = self._groups.get(change.group.encode())
        if group is None:
            return
        telling = group.signal(change)
        if next(telling, self) is self:
            return
        pump = asyncio.create_task(self._tell_rest(telling))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _tell_rest(self, telling: Iterator[None]) -> None:
        await asyncio.sleep(0)
        for _ in telling:
            await asyncio.sleep(0)

    def flush(self) -> None:
        """Give out what was published: little at once, much chunk by chunk and bit by bit, so that nobody is held up.

        What one socket gets of several groups at once leaves as one write.
        """
        published, self._published = self._published, {}
        gathered: Gathered | None = {} if len(published) > 1 else None
        room, late = RUN_BYTES, 0
        for key, events in published.items():
            group = self._groups.get(key)
            if group is None:
                continue
            if group.waiting is not None:
                group.waiting.extend(events)  # behind what is being given out
                continue
            waiting = deque(events)
            run = next_run(waiting)
            room -= len(run.frames)
            fits = not waiting and (room >= 0 or len(published) == 1)
            if fits and group.give_in_one(run, gathered):
                _observe(run)
                continue
            group.waiting = waiting
            pump = asyncio.create_task(self._pump(group, run, waiting, late * PAUSE_S))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
            late += 1
        for outbox, frames in (gathered or {}).items():
            outbox.write(frames[0] if len(frames) == 1 else b"".join(frames))

    async def close(self) -> None:
        """Wait until what was published is given out."""
        self.flush()
        self._closing = True
        await asyncio.gather(*self._pumps)

    async def _pump(self, group: Followers, run: Run, waiting: deque[LiveEvent], delay_s: float) -> None:
        """Give out `run` and what waits behind it."""
        try:
            if delay_s:
                await asyncio.sleep(delay_s)
            while True:
                for _ in group.give(run):
                    await asyncio.sleep(0)
                _observe(run)
                if not waiting:
                    break
                if not self._closing and len(waiting) * len(run.frames) < WAITING_BYTES * len(run.events):
                    await asyncio.sleep(PAUSE_S)
                run = next_run(waiting)
        except Exception:  # noqa: BLE001 - an edge: who misses a run must not go on
            metrics.ERRORS.labels("fan_out").inc()
            _log.exception("a run could not be given out")
            group.lose()
        finally:
            group.waiting = None


def _observe(run: Run) -> None:
    """Count how long the run's last event took from the broker's log to the sockets."""
    appended_at = run.events[-1].appended_at
    if appended_at is not None:
        metrics.FAN_OUT_SECONDS.observe(max(0.0, time.time() - appended_at))
