"""What holds for every run of commands, found by trying many."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.commands import AnyCommand, decode_command, encode_command
from app.domain.decide import decide
from app.domain.events import Event, decode_event, encode_event
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command, digest_of_event
from app.domain.state import Group
from tests.unit.domain.strategies import commands, instants

runs = st.lists(st.tuples(commands("g"), instants), max_size=40)


def play(run: list[tuple[AnyCommand, int]]) -> tuple[Group, list[tuple[AnyCommand, Event]]]:
    group, accepted = Group("g"), []
    for command, now in run:
        outcome = decide(group, command, now_ms=now, event_id="e")
        if isinstance(outcome, Event):
            evolve(group, outcome)
            accepted.append((command, outcome))
    return group, accepted


@given(runs)
def test_seq_is_dense_and_at_never_goes_back(run: list[tuple[AnyCommand, int]]) -> None:
    _, accepted = play(run)
    assert [event.seq for _, event in accepted] == list(range(1, len(accepted) + 1))
    assert [event.at for _, event in accepted] == sorted(event.at for _, event in accepted)


@given(runs)
def test_an_owner_exists_wherever_members_do(run: list[tuple[AnyCommand, int]]) -> None:
    group, _ = play(run)
    owners = [m for m in group.members.values() if m.role == "owner"]
    assert len(owners) == (1 if group.members else 0)


@given(runs)
def test_the_fold_of_the_bytes_is_the_state_and_folding_again_changes_nothing(
    run: list[tuple[AnyCommand, int]],
) -> None:
    group, accepted = play(run)
    events = [decode_event(encode_event(event)) for _, event in accepted]
    folded = Group("g")
    for event in events:
        evolve(folded, event)
    once = copy.deepcopy(folded)
    for event in events:
        evolve(folded, event)
    assert folded == once == group


@given(runs)
def test_the_log_alone_tells_a_repetition(run: list[tuple[AnyCommand, int]]) -> None:
    for command, event in play(run)[1]:
        assert digest_of_event(event) == digest_of_command(command)


@given(runs)
def test_deciding_leaves_the_state_as_it_is_and_gives_the_same_again(run: list[tuple[AnyCommand, int]]) -> None:
    group, _ = play(run)
    before = copy.deepcopy(group)
    for command, now in run:
        first = decide(group, command, now_ms=now, event_id="e")
        assert decide(group, command, now_ms=now, event_id="e") == first
        assert group == before


@given(commands("g"))
@settings(max_examples=200)
def test_a_command_survives_its_encoding(command: AnyCommand) -> None:
    assert decode_command(encode_command(command)) == command
