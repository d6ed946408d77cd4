"""An in-memory log of groups that decides with the service's own `decide` and folds with its own `evolve`."""

import itertools
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.domain.commands import AnyCommand, message_of, reaction_of
from app.domain.decide import Outcome, decide
from app.domain.events import (
    Event,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    encode_event,
)
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Rejection
from app.domain.state import Group, Target, readable


@dataclass
class FakeGroup:
    """One group: its state, its events with their frames (`events[i]` has seq i + 1), and its messages by their seq."""

    state: Group
    events: list[Event] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    items: dict[int, dict[str, Any]] = field(default_factory=dict)

    def append(self, event: Event, request: str) -> None:
        """Fold an event that the digest `request` asked for, and take content that it deletes out of the frames."""
        evolve(self.state, event, request)
        self.events.append(event)
        self.frames.append(encode_event(event))
        match event.data:
            case MessagePosted():
                self.items[event.seq] = _item(event)
            case MessageEdited(target=target, text=text):
                self.items[target] |= {"text": text, "edited_at": event.at}
            case MessageDeleted(target=target):
                self._delete(target)
            case ReactionAdded(target=target, emoji=emoji):
                self.items[target]["reactions"].setdefault(emoji, []).append(event.by)
            case ReactionRemoved(target=target, emoji=emoji):
                users = self.items[target]["reactions"][emoji]
                users.remove(event.by)
                if not users:
                    del self.items[target]["reactions"][emoji]

    def history(self, user: str) -> list[dict[str, Any]]:
        """The messages of this life that `user` may read, as items of `history`, oldest first."""
        state = self.state
        return [item for seq, item in self.items.items() if seq >= state.first and readable(state, user, seq)]

    def target(self, command: AnyCommand) -> Target | None:
        """The message of this life that `command` names, if it is one."""
        seq = message_of(command)
        if seq is None or seq < self.state.first or seq not in self.items:
            return None
        item, reaction = self.items[seq], reaction_of(command)
        reacted = reaction is not None and reaction[0] in item["reactions"].get(reaction[1], [])
        return Target(seq, item["by"], deleted="deleted" in item, reacted=reacted)

    def _delete(self, seq: int) -> None:
        kept = {name: self.items[seq][name] for name in ("seq", "id", "by", "at", "client_msg_id")}
        self.items[seq] = {**kept, "text": None, "reactions": {}, "deleted": True}
        edits = [e.seq for e in self.events if isinstance(e.data, MessageEdited) and e.data.target == seq]
        for content in (seq, *edits):
            frame = msgspec.json.decode(self.frames[content - 1])
            self.frames[content - 1] = msgspec.json.encode(frame | {"data": {"text": None, "deleted": True}})

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

    def view(self, at_seq: int | None = None) -> dict[str, Any]:
        """The state as clients see it (protocol §4), now or at an earlier seq; nobody's presence is tracked here."""
        g = self.state if at_seq is None else self._state_at(at_seq)
        read = {} if at_seq is not None else {user: {"read": m.joined} for user, m in g.members.items()}
        members = [{"user": user, "role": m.role, **read.get(user, {})} for user, m in g.members.items()]
        head = {"name": g.name, "topic": g.topic, "join": g.join, "history": g.history, "first": g.first, "seq": g.seq}
        return {**head, "members": members, **({"online": []} if at_seq is None else {})}

    def _state_at(self, seq: int) -> Group:
        state = Group(self.state.id)
        for event in self.events[:seq]:
            evolve(state, event)
        return state


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
        now_ms = time.time_ns() // 1_000_000
        event_id, target = str(uuid.uuid4()), group.target(command)
        outcome = decide(group.state, command, now_ms=now_ms, event_id=event_id, target=target)
        if isinstance(outcome, Event):
            group.append(outcome, digest_of_command(command))
        return outcome

    def may_read(self, group: str, user: str) -> Rejection | None:
        """Why `user` may not read `group`, or None."""
        state = self.group(group).state
        if state.life != "alive":
            return Rejection("no_such_group", "there is no such group")
        if user in state.banned:
            return Rejection("banned", "you are banned from this group")
        return None if user in state.members else Rejection("not_a_member", "you are not a member of this group")


def _item(event: Event) -> dict[str, Any]:
    data = msgspec.to_builtins(event.data)
    head = {"seq": event.seq, "id": event.id, "by": event.by, "at": event.at, "client_msg_id": event.client_msg_id}
    return {**head, **data, "reactions": {}}
