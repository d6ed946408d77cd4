"""What a partition's owner says of its groups, asked as gateways ask, against the fold of the log.

An answer says which seq it is of. The groups move meanwhile, so each is folded on to the seq of its own answer.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import aiohttp
import msgspec
from confluent_kafka import Consumer

from app.cli.verifying.findings import Report
from app.cli.verifying.log_check import UNREADABLE
from app.domain.events import Event, decode_event
from app.domain.evolve import SeqGapError, evolve
from app.domain.state import Group
from app.kafka import consumer, topics
from app.kafka.partition import partition_for
from app.log.fence import Fence, valid_event
from app.log.records import RecordError
from app.owners import parse_owner, supersedes
from app.reads import (
    READS_PATH,
    STATE_MEMBERS,
    Answer,
    AnyRead,
    MemberView,
    OwnerRecord,
    ReadMembers,
    ReadState,
    StateView,
    decode_answers,
    encode_reads,
)

AT_ONCE = 50  # a state has up to a thousand members, some 60 bytes each
CALL_S = 10.0
AGAIN_S = 0.5
PAGES = 1_000  # of a group's members
NOBODY = "verify"  # asks about groups without members: the refusal is the answer then


class OwnerCheck:
    """Asks about the groups in `states`, which are the fold up to the events offset `end`, with `fence` there."""

    def __init__(
        self, bootstrap: str, layout: topics.Layout, report: Report, states: Mapping[str, Group], fence: Fence, end: int
    ) -> None:
        self._bootstrap = bootstrap
        self._layout = layout
        self._report = report
        self._states = states
        self._fence = fence
        self._end = end
        self._askers: dict[str, str] = {}

    def run(self, reader: Consumer, skipped: Iterable[str], within_s: float) -> None:
        """Ask, fold on, compare. What was not answered properly within `within_s` is a finding.

        Raises:
            app.kafka.consumer.ReadError: the broker did not deliver.
        """
        groups = self._states.keys() - set(skipped)
        if not groups:
            return
        answers, why = asyncio.run(self._ask_all(reader, sorted(groups), within_s))
        if unanswered := groups - answers.keys():
            what = f"no answer about {len(unanswered)} of {len(groups)} groups within {within_s:g} s: {why}"
            self._report.find("owner", what)
        self._fold_on(reader, answers)
        for group, answer in answers.items():
            self._report.owners_compared += 1
            if wrong := self._compare(self._states[group], answer):
                self._report.find("owner", wrong, group=group, seq=answer.seq)

    # Asking

    async def _ask_all(self, reader: Consumer, groups: list[str], within_s: float) -> tuple[dict[str, Answer], str]:
        """An answer of the owner of now about each group, and why the last one that is missing is."""
        deadline = time.monotonic() + within_s
        answers: dict[str, Answer] = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(CALL_S)) as session:
            while True:
                owner = await asyncio.to_thread(self._owner, reader)
                if owner is None:
                    why = "nobody has said that it owns it"
                else:
                    left = [group for group in groups if group not in answers]
                    try:
                        why = await self._ask_some(session, owner.url, left, answers)
                    except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as failed:
                        why = f"{owner.url}: {str(failed) or repr(failed)}"
                if len(answers) == len(groups) or time.monotonic() > deadline:
                    return answers, why
                await asyncio.sleep(AGAIN_S)

    async def _ask_some(
        self, session: aiohttp.ClientSession, url: str, groups: list[str], answers: dict[str, Answer]
    ) -> str:
        """Ask one owner, once; why an answer is missing."""
        why = ""
        for some in _batches(groups):
            said = await self._ask(session, url, [self._read(group) for group in some])
            for group, answer in zip(some, said, strict=True):
                if answer.missing is not None:
                    why = f"{url} says {answer.missing}"
                elif answer.epoch < self._fence.epoch:
                    why = f"{url} answers with the epoch {answer.epoch}, in force is {self._fence.epoch}"
                else:
                    answers[group] = await self._whole(session, url, group, answer)
        return why

    def _owner(self, reader: Consumer) -> OwnerRecord | None:
        """The owner as the owners topic tells it."""
        found: OwnerRecord | None = None
        there = partition_for(str(self._report.partition).encode(), self._layout.partitions)
        low, end = consumer.offsets(reader, topics.OWNERS, there)
        for message in consumer.read(reader, topics.OWNERS, there, low, end):
            told = parse_owner(message.key(), message.value())
            if told is not None and told[0] == self._report.partition:
                found = told[1] if supersedes(found, told[1], self._layout.log_id) else found
        return found

    def _asker(self, group: str) -> str:
        """Only a member is told anything."""
        return self._askers.setdefault(group, next(iter(self._states[group].members), NOBODY))

    def _read(self, group: str) -> ReadState:
        return ReadState(group=group, user=self._asker(group), end=self._end)

    async def _whole(self, session: aiohttp.ClientSession, url: str, group: str, answer: Answer) -> Answer:
        """The answer with all its members; those beyond the first thousand come by pages, if the group stands still."""
        state = answer.state
        if state is None or state.members_more is msgspec.UNSET:
            return answer
        members: list[MemberView] = []
        cursor: str | None = None
        for _ in range(PAGES):
            read = ReadMembers(group=group, user=self._asker(group), end=self._end, cursor=cursor)
            (page,) = await self._ask(session, url, [read])
            if page.missing or page.refusal or page.seq != answer.seq:
                break
            members += page.members
            cursor = page.cursor
            if cursor is None:
                whole = msgspec.structs.replace(state, members=members, members_more=msgspec.UNSET)
                return msgspec.structs.replace(answer, state=whole)
        self._report.unproven["groups that changed meanwhile: their owner's members beyond the first thousand"] += 1
        return answer

    async def _ask(self, session: aiohttp.ClientSession, url: str, reads: Sequence[AnyRead]) -> list[Answer]:
        async with session.post(url + READS_PATH, data=encode_reads(list(reads))) as response:
            response.raise_for_status()
            answers = decode_answers(await response.read())
        if len(answers) != len(reads):
            raise aiohttp.ClientPayloadError(f"{len(answers)} answers to {len(reads)} reads")
        return answers

    # Comparing

    def _fold_on(self, reader: Consumer, answers: Mapping[str, Answer]) -> None:
        """Bring each group to the seq of its answer."""
        reached = max((answer.offset for answer in answers.values()), default=self._end)
        _, end = consumer.offsets(reader, topics.EVENTS, self._report.partition)
        for event, request in self._events(reader, min(reached, end)):
            answer, state = answers.get(event.group), self._states.get(event.group)
            if answer is None or state is None or event.seq > answer.seq:
                continue
            try:
                evolve(state, event, request).touched.clear()
            except SeqGapError as gap:
                self._report.find("gap", f"written while the owner was asked: {gap}", group=event.group, seq=event.seq)

    def _events(self, reader: Consumer, end: int) -> Iterator[tuple[Event, str]]:
        for message in consumer.read(reader, topics.EVENTS, self._report.partition, self._end, end):
            try:
                record = valid_event(message, self._fence)
                if record is not None:
                    yield decode_event(record.value), record.request
            except (RecordError, *UNREADABLE) as bad:
                what = f"written while the owner was asked: {bad!r}"
                self._report.find("undecodable", what, offset=message.offset())

    def _compare(self, state: Group, answer: Answer) -> str:
        """What is wrong with an answer, "" for nothing."""
        if answer.seq != state.seq:
            return f"it answers from seq {answer.seq}, the log has {state.seq} there"
        expected, code = self._refusal(state), answer.refusal and answer.refusal.code
        if code != expected:
            return f"its refusal is {code}, the log makes it {expected}"
        if answer.state is None:
            return "" if expected else "it tells no state"
        said, due = _essence(answer.state), _essence_of(state)
        if answer.state.members_more is not msgspec.UNSET:
            due = {**due, "members": _members(state)[:STATE_MEMBERS]}
        differing = [name for name, value in due.items() if said[name] != value]
        return f"{', '.join(differing)}: its state is not the fold of the log" if differing else ""

    def _refusal(self, state: Group) -> str | None:
        asker = self._asker(state.id)
        if state.life != "alive":
            return "no_such_group"
        if asker in state.banned:
            return "banned"
        return None if asker in state.members else "not_a_member"


def _essence(view: StateView) -> dict[str, object]:
    return {
        "name": view.name,
        "topic": view.topic,
        "join": view.join,
        "history": view.history,
        "first": view.first,
        "members": [(m.user, m.role, m.read) for m in view.members],
    }


def _essence_of(state: Group) -> dict[str, object]:
    return {
        "name": state.name,
        "topic": state.topic,
        "join": state.join,
        "history": state.history,
        "first": state.first,
        "members": _members(state),
    }


def _members(state: Group) -> list[tuple[str, str, object]]:
    return [(user, m.role, m.joined) for user, m in state.members.items()]


def _batches(groups: Iterable[str]) -> Iterator[list[str]]:
    left = iter(groups)
    while some := list(islice(left, AT_ONCE)):
        yield some
