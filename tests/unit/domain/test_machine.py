"""A group under any run of requests, each held to a naive model (`model`) and read back from the log."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain import idempotency, instants
from app.domain.commands import (
    AddMember,
    AnyCommand,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
    decode_command,
    encode_command,
    message_of,
    reaction_of,
)
from app.domain.decide import Outcome, decide
from app.domain.events import Event, decode_event, encode_event
from app.domain.evolve import evolve
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.domain.state import Group, Target, readable
from app.log.records import CommandPlace, EventRecord, decode_record, event_headers
from tests.unit.domain.model import Model
from tests.unit.domain.strategies import (
    FIELDS,
    FIRST_MS,
    USERS,
    callers,
    commands,
    commands_of,
    emojis,
    histories,
    joins,
    words,
)

WINDOW_EVENTS = 8  # instead of 10,000, so that a run gets to the window's end
WAITS_MS = [0, 1, 60_000, 600_000, 600_001, 86_400_000, 86_400_001, -5_000]


class Machine(RuleBasedStateMachine):
    """The owner of one group; whoever asks is told what the model says, and the log says what the state is."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group("g")
        self.model = Model(WINDOW_EVENTS)
        self.log: list[tuple[bytes, list[tuple[str, bytes]]]] = []
        self.now = FIRST_MS

    @initialize(join=joins, history=histories, key=st.none() | st.just("k1"))
    def begin(self, join: Any, history: Any, key: str | None) -> None:
        """A group of all but one, so that most requests are not refused for want of it."""
        members = (MemberSpec("bob", "admin"), MemberSpec("cyd"))
        named: dict[str, Any] = {"name": "one", "join": join, "history": history, "members": members}
        self.ask(CreateGroup(id="c", group="g", by="ann", client_msg_id=key, **named))

    @precondition(lambda self: not self.model.alive())
    @rule(command=commands_of(CreateGroup, "g"))
    def begin_again(self, command: CreateGroup) -> None:
        self.ask(command)

    @rule(ms=st.sampled_from(WAITS_MS))
    def wait(self, ms: int) -> None:
        self.now += ms

    @rule(command=commands("g"))
    def ask_anything(self, command: AnyCommand) -> None:
        self.ask(command)

    @rule(kind=st.sampled_from([AddMember, RemoveMember, SetRole, SetRole, Unban, Leave, Join]), data=st.data())
    def ask_about_a_member(self, kind: type[Command], data: st.DataObject) -> None:
        self.ask(self._by_a_member(kind, data))

    @rule(kind=st.sampled_from([UpdateGroup] * 4 + [PruneHistory, DeleteGroup]), data=st.data())
    def ask_about_the_group(self, kind: type[Command], data: st.DataObject) -> None:
        self.ask(self._by_a_member(kind, data))

    def _by_a_member(self, kind: type[Command], data: st.DataObject) -> AnyCommand:
        """A request of one who is in, or of an authority."""
        command = data.draw(commands_of(kind, "g"))
        return msgspec.structs.replace(command, by=data.draw(st.sampled_from([*self.model.roles(), None])))

    @rule(
        kind=st.sampled_from([Send, Edit, Delete, React, Unreact]), by=callers, word=words, emoji=emojis, data=st.data()
    )
    def ask_about_a_message(
        self, kind: type[Command], by: str | None, word: str, emoji: str, data: st.DataObject
    ) -> None:
        posted = [e["seq"] for e in self.model.log if e["kind"] == "message.posted"]
        seq = data.draw(st.sampled_from(posted[-4:] or [0]))
        fields: dict[str, Any] = {"seq": seq, "text": word, "emoji": emoji, "reply_to": seq or None}
        key = f"k{len(self.log)}" if kind is Send else None
        asked = {name: value for name, value in fields.items() if name in FIELDS[kind]}
        self.ask(kind(id="c", group="g", by=by, client_msg_id=key, **asked))

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        asked = [e["ask"] for e in self.model.log if e["ask"]["client_msg_id"] is not None]
        if asked:
            self.ask(decode_command(msgspec.json.encode(data.draw(st.sampled_from(asked[-6:])))))

    def ask(self, command: AnyCommand) -> None:
        """Decide, twice; hold the outcome to the model; append and fold."""
        command = decode_command(encode_command(command))
        before = copy.deepcopy(self.group)
        outcome = self._decide(command)
        assert self._decide(command) == outcome
        assert self.group == before
        asked = {"type": command.__struct_config__.tag} | msgspec.to_builtins(msgspec.structs.asdict(command))
        asked = msgspec.json.decode(msgspec.json.encode(asked))
        said = self.model.answer(asked, self.now)
        assert spoken(outcome) == said, command
        if isinstance(outcome, Event):
            written = self.model.accept(asked, said[1], self.now)
            assert (outcome.seq, outcome.at, outcome.by) == (
                written["seq"],
                instants.to_text(written["at"]),
                command.by,
            )
            self._append(command, outcome)

    def _decide(self, command: AnyCommand) -> Outcome:
        seq, reaction = message_of(command), reaction_of(command)
        message = None if seq is None else self._all_messages().get(seq)
        target = None
        if seq is not None and message is not None:
            by, deleted, reactions = message
            target = Target(seq, by, deleted=deleted, reacted=reaction in reactions)
        return decide(self.group, command, now_ms=self.now, event_id=f"e{len(self.log)}", target=target)

    def _all_messages(self) -> dict[int, tuple[str | None, bool, set[Any]]]:
        """This life's messages as the history has them: also the deleted and the pruned."""
        kept = self.model.messages()
        life = self.model.life()
        deleted = {e["data"]["target"] for e in life if e["kind"] == "message.deleted"}
        return {
            e["seq"]: (e["by"], e["seq"] in deleted, kept.get(e["seq"], {"reactions": set()})["reactions"])
            for e in life
            if e["kind"] == "message.posted"
        }

    def _append(self, command: AnyCommand, event: Event) -> None:
        request = idempotency.digest_of_command(command) if command.client_msg_id is not None else ""
        place = CommandPlace(len(self.log), 0)
        headers = event_headers(event, epoch=0, command_id="c", topic_id="t", place=place, request=request)
        self.log.append((encode_event(event), headers))
        evolve(self.group, event, request)

    def _folded(self, group: Group) -> Group:
        for offset, (value, headers) in enumerate(self.log):
            record = decode_record(offset=offset, key=b"g", value=value, headers=headers)
            assert isinstance(record, EventRecord)
            evolve(group, decode_event(record.value), record.request)
        return group

    @invariant()
    def the_state_is_the_fold_of_the_log(self) -> None:
        assert self._folded(Group("g")) == self.group

    @invariant()
    def folding_again_changes_nothing(self) -> None:
        assert self._folded(copy.deepcopy(self.group)) == self.group

    @invariant()
    def seq_is_dense_and_the_instant_never_goes_back(self) -> None:
        events = [decode_event(value) for value, _ in self.log]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert self.group.seq == len(events)

    @invariant()
    def members_have_one_owner_and_are_not_banned(self) -> None:
        owners = [user for user, member in self.group.members.items() if member.role == "owner"]
        assert len(owners) == (1 if self.group.members else 0)
        assert not self.group.banned & set(self.group.members)

    @invariant()
    def a_key_is_of_one_event_and_the_oldest_is_first(self) -> None:
        seqs = [sent.seq for sent in self.group.sent.values()]
        assert seqs == sorted(set(seqs))

    @invariant()
    def the_state_is_what_the_model_says(self) -> None:
        if not self.model.alive():
            assert self.group.life == ("deleted" if self.log else "none")
            return
        group, model = self.group, self.model
        assert [(user, member.role) for user, member in group.members.items()] == [*model.roles().items()]
        assert group.banned == model.banned()
        now = (group.name, group.topic, group.join, group.history)
        assert now == tuple(model.setting(name) for name in ("name", "topic", "join", "history"))
        assert group.first == model.life()[0]["seq"]

    @invariant()
    def each_member_reads_what_the_model_says(self) -> None:
        if self.model.alive():
            for user in set(USERS) & set(self.group.members):
                life = range(self.group.first, self.group.seq + 1)
                assert {seq for seq in life if readable(self.group, user, seq)} == self.model.seen(user)


def spoken(outcome: Outcome) -> tuple[str, Any]:
    """An outcome in the model's words."""
    match outcome:
        case Event(kind=kind, data=data):
            return "event", (kind, msgspec.json.decode(msgspec.json.encode(data)))
        case Duplicate(seq=seq):
            return "duplicate", seq
        case Rejection(code=code):
            return "refused", code
        case Unchanged():
            return "unchanged", None


def test_any_run_of_requests_goes_as_a_naive_reading_of_the_protocol_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "WINDOW_EVENTS", WINDOW_EVENTS)
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(max_examples=120, stateful_step_count=40, suppress_health_check=checks),
    )
