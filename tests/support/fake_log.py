"""An in-memory log of groups that decides with the service's own `decide` and folds with its own `evolve`."""

import itertools
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.domain.commands import AnyCommand
from app.domain.decide import Outcome, decide
from app.domain.events import Event, MessagePosted, encode_event
from app.domain.evolve import evolve
from app.domain.outcomes import Rejection
from app.domain.state import Group, Target, readable


@dataclass
class FakeGroup:
    """One group: its state, and its events with their frames (`events[i]` has seq i + 1)."""

    state: Group
    events: list[Event] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    def run(self, user: str, first: int, through: int) -> list[bytes]:
        """The frames of `first` ≤ seq ≤ `through` as `user` may see them, withheld runs as one frame each."""
        frames: list[bytes] = []
        for may_read, part in itertools.groupby(range(first, through + 1), lambda s: readable(self.state, user, s)):
            seqs = list(part)
            if may_read:
                frames += (self.frames[seq - 1] for seq in seqs)
            else:
                withheld = {"type": "withheld", "group": self.state.id, "from": seqs[0], "through": seqs[-1]}
                frames.append(msgspec.json.encode(withheld))
        return frames

    def last(self, user: str, count: int) -> int:
        """The seq from which on the last `count` events that `user` may read are sent."""
        readables = [s for s in range(self.state.first, self.state.seq + 1) if readable(self.state, user, s)]
        return (readables[-count:] or [self.state.seq + 1])[0] if count else self.state.seq + 1

    def view(self) -> dict[str, Any]:
        """The state as clients see it (protocol §4); nobody's presence is tracked here."""
        g = self.state
        members = [{"user": user, "role": m.role, "read": m.joined} for user, m in g.members.items()]
        head = {"name": g.name, "topic": g.topic, "join": g.join, "history": g.history, "first": g.first, "seq": g.seq}
        return {**head, "members": members, "online": []}


class FakeLog:
    """All groups of one log; `id` names its incarnation."""

    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.groups: dict[str, FakeGroup] = {}

    def group(self, group: str) -> FakeGroup:
        """The group `group`, which has no event if nobody created it."""
        return self.groups.setdefault(group, FakeGroup(Group(group)))

    def append(self, command: AnyCommand) -> Outcome:
        """Decide `command`, and put the event into the log if it becomes one."""
        group = self.group(command.group)
        target = self._target(group, getattr(command, "reply_to", None))
        now_ms = time.time_ns() // 1_000_000
        outcome = decide(group.state, command, now_ms=now_ms, event_id=str(uuid.uuid4()), target=target)
        if isinstance(outcome, Event):
            evolve(group.state, outcome)
            group.events.append(outcome)
            group.frames.append(encode_event(outcome))
        return outcome

    def may_read(self, group: str, user: str) -> Rejection | None:
        """Why `user` may not read `group`, or None."""
        state = self.group(group).state
        if state.life != "alive":
            return Rejection("no_such_group", "there is no such group")
        if user in state.banned:
            return Rejection("banned", "you are banned from this group")
        return None if user in state.members else Rejection("not_a_member", "you are not a member of this group")

    @staticmethod
    def _target(group: FakeGroup, seq: int | None) -> Target | None:
        if seq is None or not group.state.first <= seq <= group.state.seq:
            return None
        event = group.events[seq - 1]
        return Target(seq, event.by) if isinstance(event.data, MessagePosted) else None
