"""Live events as they were read, and runs of them that leave together (design §5)."""

from collections import deque
from dataclasses import dataclass

import msgspec

EVERYBODY = ""  # no user's id is empty
# What a group's followers get at a time: a batch of large events must not stand before a reader who keeps up as more
# than a slow one may leave waiting.
RUN_BYTES = 65_536


@dataclass(slots=True, frozen=True)
class LiveEvent:
    """A valid event as it was read.

    `frame`: the whole frame, built once. `leaving`: whose run ends with it. `appended_at`: the timestamp in the log,
    seconds since 1970 by the clock of who wrote it, None if there is none.
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


def next_run(waiting: deque[LiveEvent]) -> Run:
    """Take the events that may leave together, at least one."""
    taken = [waiting.popleft()]
    size = len(taken[0].frame)
    while waiting and waiting[0].seq == taken[-1].seq + 1 and size + len(waiting[0].frame) <= RUN_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1].frame)
    return Run.of(taken)
