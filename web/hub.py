"""Who follows which group here, and the fan-out of its events (design §5)."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.telemetry import logger
from web import metrics

EVERYBODY = ""  # no user's id is empty
CHUNK = 500  # subscriptions served before the loop gets its turn

_log = logger("web")


@dataclass(slots=True, frozen=True)
class LiveEvent:
    """A valid event as it was read. `frame`: the whole frame, built once. `leaving`: whose run ends with it."""

    seq: int
    frame: bytes
    leaving: str | None = None

    def ends(self, user: str) -> bool:
        """Whether this is the last event that `user` gets of the group."""
        return self.leaving in {user, EVERYBODY}


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

    def on_live(self, event: LiveEvent) -> None:
        """The group's next event; must not wait."""

    def lost(self) -> None:
        """It could not take an event: its run is broken."""


class Hub:
    """The followers of each group, by the group's Kafka key."""

    def __init__(self) -> None:
        self._followers: dict[bytes, dict[Follower, None]] = {}
        self._queues: dict[bytes, deque[LiveEvent]] = {}
        self._pumps: set[asyncio.Task[None]] = set()

    def follows(self, key: bytes) -> bool:
        """Whether anybody here follows the group."""
        return key in self._followers

    def follow(self, key: bytes, follower: Follower) -> None:
        """From now on `follower` gets the group's events."""
        self._followers.setdefault(key, {})[follower] = None
        metrics.FOLLOWED.set(len(self._followers))

    def unfollow(self, key: bytes, follower: Follower) -> None:
        """`follower` gets no more of them; nothing happens if it does not follow."""
        followers = self._followers.get(key)
        if followers is None:
            return
        followers.pop(follower, None)
        if not followers:
            del self._followers[key]
            metrics.FOLLOWED.set(len(self._followers))

    def publish(self, key: bytes, event: LiveEvent) -> None:
        """Give `event` to all who follow; to many of them chunk by chunk, so that the loop is not held."""
        followers = self._followers.get(key)
        if followers is None:
            return
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(event)  # behind the events that are being given out
        elif len(followers) <= CHUNK:
            _give(list(followers), event)
        else:
            self._queues[key] = deque([event])
            pump = asyncio.create_task(self._pump(key))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def close(self) -> None:
        """Wait until what was published is given out."""
        await asyncio.gather(*self._pumps)

    async def _pump(self, key: bytes) -> None:
        queue = self._queues[key]
        while queue:
            event = queue.popleft()
            followers = list(self._followers.get(key, ()))
            for start in range(0, len(followers), CHUNK):
                _give(followers[start : start + CHUNK], event)
                await asyncio.sleep(0)
        del self._queues[key]


def _give(followers: list[Follower], event: LiveEvent) -> None:
    for follower in followers:
        try:
            follower.on_live(event)
        except Exception:  # noqa: BLE001 - an edge: one broken socket must not end the fan-out for the rest
            metrics.ERRORS.labels("fan_out").inc()
            _log.exception("an event could not be given to a socket")
            follower.lost()
