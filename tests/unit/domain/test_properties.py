"""What holds for every run of commands and every log, found by trying many."""

import contextlib
import copy
import itertools
import typing

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import AddMember, AnyCommand, CreateGroup
from app.domain.decide import decide
from app.domain.events import AnyData, Event, GroupCreated, MemberJoined, decode_event, encode_event
from app.domain.evolve import SeqGapError, evolve
from app.domain.idempotency import digest_of_command, digest_of_event
from app.domain.spans import last_of, parts, readable_spans
from app.domain.state import Group, Target, readable
from tests.unit.domain.strategies import DATAS, FIELDS, any_events, any_logs, commands, instants, targets

runs = st.lists(st.tuples(commands("g"), instants, targets), max_size=40)
Run = list[tuple[AnyCommand, int, Target | None]]


def request(command: AnyCommand) -> str:
    """What the command's record carries as its digest."""
    return digest_of_command(command) if command.client_msg_id is not None else ""


def play(run: Run) -> tuple[Group, list[tuple[AnyCommand, Event]]]:
    group, accepted = Group("g"), []
    for command, now, target in run:
        outcome = decide(group, command, now_ms=now, event_id="e", target=target)
        if isinstance(outcome, Event):
            evolve(group, outcome, request(command))
            accepted.append((command, outcome))
    return group, accepted


def test_every_command_and_every_kind_of_event_is_tried() -> None:
    assert set(FIELDS) == set(typing.get_args(AnyCommand))
    assert set(DATAS) == set(typing.get_args(AnyData))


@given(runs)
def test_seq_is_dense_and_at_never_goes_back(run: Run) -> None:
    _, accepted = play(run)
    assert [event.seq for _, event in accepted] == list(range(1, len(accepted) + 1))
    assert [event.at for _, event in accepted] == sorted(event.at for _, event in accepted)


@given(runs)
def test_an_owner_exists_wherever_members_do(run: Run) -> None:
    group, _ = play(run)
    owners = [m for m in group.members.values() if m.role == "owner"]
    assert len(owners) == (1 if group.members else 0)


@given(runs)
def test_the_fold_of_the_bytes_is_the_state_and_folding_again_changes_nothing(run: Run) -> None:
    group, accepted = play(run)
    records = [(decode_event(encode_event(event)), request(command)) for command, event in accepted]
    folded = Group("g")
    for event, digest in records:
        evolve(folded, event, digest)
    once = copy.deepcopy(folded)
    for event, digest in records:
        evolve(folded, event, digest)
    assert folded == once == group


@given(runs)
def test_the_log_alone_tells_a_repetition(run: Run) -> None:
    group, accepted = play(run)
    folded = Group("g")
    for command, event in accepted:
        evolve(folded, decode_event(encode_event(event)), request(command))
    for command, _, target in run:
        now = group.at_ms
        told = decide(folded, command, now_ms=now, event_id="e", target=target)
        assert told == decide(group, command, now_ms=now, event_id="e", target=target)


@given(runs)
def test_of_records_without_a_digest_the_event_tells_what_was_asked(run: Run) -> None:
    for command, event in play(run)[1]:
        if digest_of_event(event) and not _told_otherwise(command, event):
            assert digest_of_event(event) == digest_of_command(command)


def _told_otherwise(command: AnyCommand, event: Event) -> bool:
    """What no record without a digest has: an authority's creation with a key, a caller who became an owner by it."""
    created = isinstance(event.data, GroupCreated) and command.by is None
    return created or (isinstance(event.data, MemberJoined) and event.data.role == "owner")


@given(runs)
def test_deciding_leaves_the_state_as_it_is_and_gives_the_same_again(run: Run) -> None:
    group, _ = play(run)
    before = copy.deepcopy(group)
    for command, now, target in run:
        first = decide(group, command, now_ms=now, event_id="e", target=target)
        assert decide(group, command, now_ms=now, event_id="e", target=target) == first
        assert group == before


@given(any_logs, runs)
@settings(max_examples=100)
def test_decide_is_total_also_over_states_that_no_commands_lead_to(log: list[Event], run: Run) -> None:
    group = Group("g")
    for event in log:
        evolve(group, event)
    for command, now, target in run:
        outcome = decide(group, command, now_ms=now, event_id="e", target=target)
        if isinstance(outcome, Event):
            evolve(group, outcome, request(command))
            assert group.seq == outcome.seq


@given(st.lists(any_events, max_size=40))
@settings(max_examples=100)
def test_evolve_takes_any_event_in_its_turn_drops_the_old_and_refuses_only_a_gap(events: list[Event]) -> None:
    group = Group("g")
    for event in events:
        before = copy.deepcopy(group)
        with contextlib.suppress(SeqGapError):
            evolve(group, event)
        if event.seq == before.seq + 1:
            assert group.seq == event.seq
        else:
            assert group == before


@given(commands("g"))
def test_a_digest_is_of_the_request_alone(command: AnyCommand) -> None:
    same: dict[str, typing.Any] = {"id": "another", "origin": "gw-2", "client_msg_id": "other", "group": "h"}
    assert digest_of_command(msgspec.structs.replace(command, **same)) == digest_of_command(command)


@given(commands("g"), commands("g"))
def test_digests_are_equal_where_the_content_is_and_nowhere_else(one: AnyCommand, two: AnyCommand) -> None:
    assert (digest_of_command(one) == digest_of_command(two)) == (content(one) == content(two))


def content(command: AnyCommand) -> dict[str, typing.Any]:
    """What a request asks: all of its fields but who and where."""
    asked = msgspec.structs.asdict(command)
    for name in ("id", "group", "by", "origin", "client_msg_id"):
        del asked[name]
    if isinstance(command, CreateGroup):  # of members named twice the last role counts, the creator's not at all
        roles = {m.user: m.role for m in command.members if m.user != command.by}
        asked["members"] = list(roles.items())
    if isinstance(command, AddMember) and command.by is None:
        del asked["role"]  # the first whom an authority adds owns the group, whatever role it named
    return {"type": type(command)} | asked


@given(any_logs, st.integers(0, 30), st.integers(0, 30))
def test_the_runs_that_a_member_may_read_are_the_events_that_it_may(log: list[Event], low: int, high: int) -> None:
    group = Group("g")
    for event in log:
        evolve(group, event)
    for user in group.members:
        runs_read = readable_spans(group, user, low, high)
        one_by_one = [seq for seq in range(low, high + 1) if readable(group, user, seq)]
        assert [seq for since, through in runs_read for seq in range(since, through + 1)] == one_by_one
        assert all(through + 1 < since for (_, through), (since, _) in itertools.pairwise(runs_read))
        cut = parts(runs_read, low, high)
        assert [seq for since, through, inside in cut if inside for seq in range(since, through + 1)] == one_by_one
        assert [seq for since, through, _ in cut for seq in range(since, through + 1)] == list(range(low, high + 1))
        for count in (1, 2, 5):
            assert last_of(runs_read, count) == (one_by_one[-count] if len(one_by_one) >= count else None)
