"""One group driven by commands, as its owner drives it: decide, then fold."""

from typing import Any, TypeVar

from app.domain.commands import Command, CreateGroup, DeleteGroup, MemberSpec, Send, message_of, reaction_of
from app.domain.decide import Outcome, decide
from app.domain.events import (
    Event,
    MessageDeleted,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
)
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.domain.state import Group, Target

NOW = 1_795_569_600_000
MINUTE = 60_000
HOUR = 60 * MINUTE

C = TypeVar("C", bound=Command)


class Chat:
    """A group, its messages, and a clock that moves when a test moves it."""

    def __init__(self, group: str = "g1") -> None:
        self.group = Group(group)
        self.now = NOW
        self._authors: dict[int, str | None] = {}
        self._deleted: set[int] = set()
        self._reactions: set[tuple[int, str | None, str]] = set()
        self._keys = 0

    def ask(self, kind: type[Command], by: str | None, **fields: Any) -> Outcome:
        """What becomes of a command; its message is the one that the group has at that seq."""
        if kind is Send and "client_msg_id" not in fields:
            self._keys += 1
            fields["client_msg_id"] = f"auto-{self._keys}"
        command: Any = kind(id="c", group=self.group.id, by=by, **fields)
        outcome = decide(self.group, command, now_ms=self.now, event_id="e", target=self._target(command))
        if isinstance(outcome, Event):
            evolve(self.group, outcome, digest_of_command(command) if command.client_msg_id is not None else "")
            self._note(outcome)
        return outcome

    def post(self, by: str | None, text: str = "hi") -> int:
        """Send a message that must be taken; its seq."""
        return taken(self.ask(Send, by, text=text)).seq

    def created_again(self, by: str = "olga") -> Event:
        """End this life of the group and begin the next."""
        taken(self.ask(DeleteGroup, None))
        return taken(self.ask(CreateGroup, by, name="Again"))

    def role(self, user: str) -> str:
        return self.group.members[user].role

    def _target(self, command: Any) -> Target | None:
        seq = message_of(command)
        if seq is None or seq not in self._authors or seq < self.group.first:
            return None
        reaction = reaction_of(command)
        return Target(
            seq,
            self._authors[seq],
            deleted=seq in self._deleted,
            reacted=reaction is not None and (seq, *reaction) in self._reactions,
        )

    def _note(self, event: Event) -> None:
        match event.data:
            case MessagePosted():
                self._authors[event.seq] = event.by
            case MessageDeleted(target=seq):
                self._deleted.add(seq)
            case ReactionAdded(target=seq, emoji=emoji):
                self._reactions.add((seq, event.by, emoji))
            case ReactionRemoved(target=seq, emoji=emoji):
                self._reactions.discard((seq, event.by, emoji))


def usual_chat() -> Chat:
    """Owner olga, admins anna and adam, members mike, mira, readers rita, rolf; ben and bea banned; open to join."""
    chat = Chat()
    members = [("anna", "admin"), ("adam", "admin"), ("mike", "member"), ("mira", "member"), ("rita", "reader")]
    members += [("rolf", "reader")]
    specs = tuple(MemberSpec(user, role) for user, role in members)  # type: ignore[arg-type]
    taken(chat.ask(CreateGroup, "olga", name="Group", topic="talk", join="open", members=specs))
    chat.group.banned.update({"ben", "bea"})
    return chat


def taken(outcome: Outcome) -> Event:
    assert isinstance(outcome, Event), outcome
    return outcome


def data(outcome: Outcome) -> Any:
    return taken(outcome).data


def code(outcome: Outcome) -> str:
    assert isinstance(outcome, Rejection), outcome
    return outcome.code


def fault(outcome: Outcome) -> tuple[str, str | None]:
    """The code and the field of a refusal."""
    assert isinstance(outcome, Rejection), outcome
    return outcome.code, outcome.field


def verdict(outcome: Outcome) -> str:
    """An outcome in a word: `ok`, `unchanged`, `duplicate`, or the refusal's code."""
    match outcome:
        case Event():
            return "ok"
        case Unchanged():
            return "unchanged"
        case Duplicate():
            return "duplicate"
        case Rejection(code=word):
            return word
