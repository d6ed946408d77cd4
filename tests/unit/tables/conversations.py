"""Random conversations of one group, driven through tables that are flushed, torn and lost at any moment.

What must come out is told by a model that folds the whole log anew, naively.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from agents.pages import messages_page, view_of
from app.domain.commands import (
    AnyCommand,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    Send,
    Unreact,
    UpdateGroup,
    message_of,
    reaction_of,
)
from app.domain.decide import decide
from app.domain.events import (
    Event,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    encode_event,
)
from app.domain.evolve import SeqGapError
from app.domain.state import Group, readable
from app.reads import ReadMessages
from tables.partition_tables import PartitionTables, Snapshot
from tables.store import Store
from tests.unit.domain.strategies import FIRST_MS

GROUP = "g"
USERS = ["ann", "bob", "cyd"]


@dataclass(frozen=True)
class Step:
    """One thing that happens: somebody asks something of a message, or the tables go through something."""

    kind: str
    user: str
    pick: int
    word: str


# Weighted: mostly talk about the same few messages, seldom the end of a life.
_KINDS = [
    *(["send"] * 6), *(["edit"] * 4), *(["react"] * 5), *(["unreact"] * 4), *(["delete"] * 2),
    "leave", "join", "join", "history", "prune", "again",
    "flush", "flush", "torn", "crash", "rebuild",
]  # fmt: skip
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(_KINDS),
        st.sampled_from(USERS),
        st.integers(0, 7),
        st.sampled_from(["one", "two", 'a "quote"', "ü"]),
    ),
    min_size=40,
    max_size=80,
)


@dataclass
class Conversation:
    """A group, its log, and the tables over two stores that outlive them."""

    groups: Store
    history: Store
    log: list[Event] = field(default_factory=list)
    at: int = 0  # how many events of the log are behind the position rows

    def __post_init__(self) -> None:
        self.tables = PartitionTables(self.groups, self.history)
        self.ask(self._create())

    @property
    def group(self) -> Group:
        return self.tables.group(GROUP)

    def ask(self, command: AnyCommand) -> None:
        """Decide a command as a partition does."""
        seq = message_of(command)
        target = None if seq is None else self.tables.target(self.group, seq, reaction_of(command))
        now_ms = FIRST_MS + 1_000 * len(self.log)
        outcome = decide(self.group, command, now_ms=now_ms, event_id=f"e{len(self.log)}", target=target)
        if isinstance(outcome, Event):
            self.log.append(outcome)
            self.tables.apply(outcome, encode_event(outcome))

    def play(self, steps: list[Step]) -> None:
        """Let all of it happen."""
        for n, step in enumerate(steps):
            for command in self._commands(n, step):
                self.ask(command)
            if step.kind in {"flush", "torn", "crash", "rebuild"}:
                getattr(self, step.kind)(step.pick)

    def flush(self, _: int = 0) -> None:
        """All of what changed reaches the stores, and the position with it."""
        self._write(self.tables.snapshot(1))
        self.tables.written()
        self.at = len(self.log)

    def torn(self, pick: int) -> None:
        """A flush of which the changelogs got a beginning, not the position; then a crash."""
        snapshot = self.tables.snapshot(1)
        self.tear(snapshot, len(snapshot.groups) * pick // 8, len(snapshot.history) * pick // 8)

    def tear(self, snapshot: Snapshot, groups: int, history: int) -> None:
        """So many rows of each table are all that came of a flush."""
        self._write(Snapshot(groups=snapshot.groups[:groups], history=snapshot.history[:history]))
        self.crash()

    def crash(self, pick: int = 0) -> None:
        """Open again: fold from the position or from before it (the other table's may be older), rebuild the stale."""
        self.tables = PartitionTables(self.groups, self.history)
        for event in self.log[max(0, self.at - pick) :]:
            try:
                self.tables.apply(event, encode_event(event))
            except SeqGapError:
                self.tables.mark_stale(GROUP)
        if self.tables.stale_groups():
            self.rebuild()

    def rebuild(self, _: int = 0) -> None:
        """The group is marked as stale and built anew from its whole log."""
        self.tables.mark_stale(GROUP)
        self.tables.forget(GROUP)
        for event in self.log:
            self.tables.apply(event, encode_event(event))

    def items(self, user: str, **bounds: Any) -> tuple[list[dict[str, Any]], bool]:
        """The page of history that `user` gets, and whether there is more."""
        read = ReadMessages(group=GROUP, user=user, end=0, **bounds)
        answer = asyncio.run(messages_page(self.tables.history, view_of(self.group, user), read))
        return [msgspec.json.decode(item) for item in answer.messages], answer.more

    def _write(self, snapshot: Snapshot) -> None:
        self.groups.write([*snapshot.groups, *((key, None) for key in snapshot.unmarked)], 0)
        self.history.write(snapshot.history, 0)

    def _create(self) -> CreateGroup:
        members = (MemberSpec("bob", "admin"), MemberSpec("cyd"))
        return CreateGroup(id="c", group=GROUP, by="ann", name="n", join="open", members=members)

    def _commands(self, n: int, step: Step) -> list[AnyCommand]:
        posted = [e.seq for e in self.log if isinstance(e.data, MessagePosted)][-3:]
        seq = posted[step.pick % len(posted)] if posted else 1
        who: dict[str, Any] = {"id": "c", "group": GROUP, "by": step.user}
        make: dict[str, Callable[[], list[AnyCommand]]] = {
            "send": lambda: [Send(**who, client_msg_id=str(n), text=f"{step.word} {n}", mentions=("bob",) * (n % 2))],
            "edit": lambda: [Edit(**{**who, "by": self._author(seq)}, seq=seq, text=f"{step.word} {n}")],
            "delete": lambda: [Delete(**who, seq=seq)],
            "react": lambda: [React(**who, seq=seq, emoji="+-"[step.pick % 2])],
            "unreact": lambda: self._unreact(step.pick),
            "leave": lambda: [Leave(**who)],
            "join": lambda: [Join(**{**who, "by": user}) for user in USERS if user not in self.group.members],
            "history": lambda: [UpdateGroup(**{**who, "by": None}, history="joined" if step.pick % 2 else "all")],
            "prune": lambda: [PruneHistory(**{**who, "by": None}, through=max(0, self.group.seq - 4 - step.pick))],
            "again": lambda: [DeleteGroup(**{**who, "by": None}), self._create()] if step.pick == 0 else [],
        }
        return make[step.kind]() if step.kind in make else []

    def _unreact(self, pick: int) -> list[AnyCommand]:
        added = [e for e in self.log if isinstance(e.data, ReactionAdded)][-1 - pick % 3 :][:1]
        return [Unreact(id="c", group=GROUP, by=e.by, seq=e.data.target, emoji=e.data.emoji) for e in added]  # type: ignore[union-attr]

    def _author(self, seq: int) -> str | None:
        return self.log[seq - 1].by


def expected_items(log: list[Event], group: Group, user: str) -> list[dict[str, Any]]:
    """The history items of `user`, by folding all that this user may read."""
    items: dict[int, dict[str, Any]] = {}
    reactions: list[tuple[int, int, str, str | None]] = []
    for event in log[max(group.first, group.pruned + 1) - 1 :]:
        may_read = readable(group, user, event.seq)
        match event.data:
            case MessagePosted() as d if may_read:
                items[event.seq] = {
                    "seq": event.seq, "id": event.id, "by": event.by, "at": event.at,
                    "client_msg_id": event.client_msg_id, "text": d.text,
                    **({"mentions": list(d.mentions)} if d.mentions else {}),
                }  # fmt: skip
            case MessageEdited() as d if may_read and d.target in items:
                items[d.target] |= {"text": d.text, "edited_at": event.at}
            case MessageDeleted() as d if d.target in items:
                kept = {key: items[d.target][key] for key in ("seq", "id", "by", "at", "client_msg_id")}
                items[d.target] = {**kept, "text": None, "deleted": True}
                reactions = [r for r in reactions if r[1] != d.target]
            case ReactionAdded() as d if may_read:
                reactions.append((event.seq, d.target, d.emoji, event.by))
            case ReactionRemoved() as d:
                reactions = [r for r in reactions if r[1:] != (d.target, d.emoji, event.by)]
    for item in items.values():
        item["reactions"] = {}
    for _, target, emoji, by in reactions:
        if target in items:
            items[target]["reactions"].setdefault(emoji, []).append(by)
    return list(items.values())


def deleted_texts(log: list[Event]) -> set[str]:
    """Every text that was posted or given to a message that is deleted by now."""
    gone = {e.data.target for e in log if isinstance(e.data, MessageDeleted)}
    texts = set()
    for event in log:
        of = event.seq if isinstance(event.data, MessagePosted) else getattr(event.data, "target", None)
        if of in gone and isinstance(event.data, MessagePosted | MessageEdited) and event.data.text is not None:
            texts.add(event.data.text)
    return texts
