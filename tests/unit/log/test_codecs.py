"""Every codec gives back what was put in, whatever the values are."""

import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import reads
from app.domain import commands, events
from app.domain.evolve import forget_expired
from app.domain.instants import to_ms, to_text
from app.domain.state import Group, Member, Sent
from app.log.records import (
    Claim,
    ClaimRecord,
    CommandPlace,
    EventRecord,
    claim_headers,
    decode_record,
    encode_claim,
    event_headers,
)
from tables import group_rows, rows
from tables.partition_tables import PartitionTables
from tests.support.memory_store import MemoryStore

AT = "2026-11-25T01:20:00.123Z"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
seqs = st.integers(0, 2**53 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: seqs,
    bool: st.booleans(),
    type(None): st.none(),
    Any: json_values,
    msgspec.Raw: json_values.map(lambda value: msgspec.Raw(msgspec.json.encode(value))),
    msgspec.UnsetType: st.just(msgspec.UNSET),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(parts)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([values(part) for part in parts])
    if origin is tuple:
        return st.lists(values(parts[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(values(parts[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(texts, values(parts[1]), max_size=3)
    return of(kind)


def of(struct: type[msgspec.Struct], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct, each field given or left at its default."""
    all_fields = {f.name: fields.get(f.name, values(f.type)) for f in msgspec.structs.fields(struct)}
    return st.builds(struct, **all_fields)


any_command = st.one_of([of(kind) for kind in typing.get_args(commands.AnyCommand)])
any_event = st.sampled_from(sorted(events.KINDS)).flatmap(
    lambda name: of(events.Event, kind=st.just(name), group=ids, at=st.just(AT), data=of(events.KINDS[name]))
)


@given(any_command)
def test_a_command_survives(command: commands.AnyCommand) -> None:
    raw = commands.encode_command(command)
    assert commands.decode_command(raw) == command
    assert type(commands.decode_command(raw)) is type(command)


@given(st.lists(any_command, max_size=4))
def test_an_array_of_commands_survives_element_by_element(several: list[commands.AnyCommand]) -> None:
    raw = b"[" + b",".join(map(commands.encode_command, several)) + b"]"
    assert [commands.decode_command(each) for each in commands.split_array(raw)] == several


@given(any_event)
def test_an_event_survives_and_is_written_the_same_again(event: events.Event) -> None:
    raw = events.encode_event(event)
    assert events.decode_event(raw) == event
    assert events.encode_event(events.decode_event(raw)) == raw


@given(any_event, seqs, ids, ids, seqs, seqs, st.just("") | st.text("0123456789abcdef", min_size=24, max_size=24))
def test_an_events_record_survives(
    event: events.Event, epoch: int, command_id: str, topic_id: str, offset: int, index: int, request: str
) -> None:
    place = CommandPlace(offset, index)
    headers = event_headers(
        event, epoch=epoch, command_id=command_id, topic_id=topic_id, place=place, request=request
    )  # fmt: skip
    value = events.encode_event(event)
    record = decode_record(offset=7, key=event.group.encode(), value=value, headers=headers)
    assert record == EventRecord(
        7, epoch, event.group, event.seq, event.kind, command_id, topic_id, place, value, request
    )  # fmt: skip


@given(of(Claim))
def test_a_claim_survives(claim: Claim) -> None:
    record = decode_record(offset=7, key=None, value=encode_claim(claim), headers=claim_headers())
    assert record == ClaimRecord(7, claim)


@given(of(reads.OwnerRecord))
def test_an_owner_record_survives(owner: reads.OwnerRecord) -> None:
    assert reads.decode_owner(reads.encode_owner(owner)) == owner


@given(of(reads.Outcome))
def test_a_reply_survives(outcome: reads.Outcome) -> None:
    assert reads.decode_outcome(reads.encode_outcome(outcome)) == outcome


@given(st.lists(st.one_of([of(kind) for kind in typing.get_args(reads.AnyRead)]), max_size=4))
def test_reads_survive(asked: list[reads.AnyRead]) -> None:
    assert reads.decode_reads(reads.encode_reads(asked)) == asked


@given(st.lists(of(reads.Answer), max_size=3))
def test_answers_survive(answers: list[reads.Answer]) -> None:
    again = reads.decode_answers(reads.encode_answers(answers))
    assert reads.encode_answers(again) == reads.encode_answers(answers)
    assert again == answers


@given(of(rows.Position), seqs)
def test_a_position_row_survives(position: rows.Position, epoch: int) -> None:
    row = rows.encode_position(position, epoch)
    assert (rows.decode_position(row), rows.epoch_of(row)) == (position, epoch)


roles = st.sampled_from(["reader", "member", "admin", "owner"])


@st.composite
def groups(draw: st.DrawFn) -> Group:
    """Any state, in the order that a fold makes, also one whose names are each other's beginnings."""
    group = Group(
        draw(ids),
        seq=draw(seqs),
        first=draw(seqs),
        life=draw(st.sampled_from(["none", "alive", "deleted"])),
        name=draw(texts),
        topic=draw(texts),
        join=draw(st.sampled_from(["open", "invite"])),
        at_ms=draw(st.integers(0, 2**45)),
        pruned=draw(seqs),
        banned=draw(st.sets(ids, max_size=4)),
    )
    rules = draw(st.dictionaries(seqs, st.sampled_from(["all", "joined"]), max_size=4))
    group.rules = sorted(rules.items())
    for user in draw(st.sets(ids, max_size=4)):
        group.past[user] = sorted(draw(st.dictionaries(seqs, seqs, min_size=1, max_size=3)).items())
    members = draw(st.dictionaries(ids, st.tuples(roles, seqs, seqs), max_size=4))
    for user, (role, joined, place) in sorted(members.items(), key=lambda item: item[1][1:]):
        group.members[user] = Member(role, joined, place)
    keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
    sent = draw(st.dictionaries(st.tuples(st.just("") | ids, keys), st.tuples(seqs, seqs, texts), max_size=4))
    for key, (seq, at_ms, digest) in sorted(sent.items(), key=lambda item: item[1][0]):
        group.sent[key] = Sent(seq, at_ms, digest)
    forget_expired(group)  # as a fold leaves it
    group.take_touched()
    return group


@given(groups(), seqs)
def test_a_group_survives_its_rows(group: Group, epoch: int) -> None:
    parts: list[tuple[str, ...]] = [("head",)]
    parts += [("member", user) for user in group.members] + [("ban", user) for user in group.banned]
    parts += [("sent", *key) for key in group.sent] + [("rule", str(since)) for since, _ in group.rules]
    parts += [("past", user, str(since)) for user, spans in group.past.items() for since, _ in spans]
    written = [(key, row) for key, row in group_rows.part_rows(group, parts, epoch) if row is not None]
    assert len({key for key, _ in written}) == len(written) == len(parts)
    assert {rows.group_of(key) for key, _ in written} == {group.id}
    store = MemoryStore()
    store.write(written, 0)
    again = PartitionTables(store, MemoryStore()).group(group.id)
    assert again == group
    assert [m.joined for m in again.members.values()] == [m.joined for m in group.members.values()]


@given(st.integers(-(2**40), 253_402_300_799_999))
def test_an_instant_survives(at_ms: int) -> None:
    assert to_ms(to_text(at_ms)) == at_ms


# The exact bytes of each kind: what every client sees, in this order and under these names (protocol §3).

SPELLED: list[tuple[Any, str]] = [
    (
        events.GroupCreated(name="n", topic="", join="open", history="all", members=(events.NewMember("o", "owner"),)),
        '{"name":"n","topic":"","join":"open","history":"all","members":[{"user":"o","role":"owner"}]}',
    ),
    (events.GroupUpdated(topic=""), '{"topic":""}'),
    (
        events.GroupUpdated(name="n", topic="t", join="invite", history="joined"),
        '{"name":"n","topic":"t","join":"invite","history":"joined"}',
    ),
    (events.GroupDeleted(), "{}"),
    (events.MemberJoined(user="u", role="reader"), '{"user":"u","role":"reader"}'),
    (events.MemberLeft(user="u"), '{"user":"u"}'),
    (events.MemberRemoved(user="u", banned=False), '{"user":"u","banned":false}'),
    (events.MemberRemoved(user="u", banned=True, owner="v"), '{"user":"u","banned":true,"owner":"v"}'),
    (events.MemberUnbanned(user="u"), '{"user":"u"}'),
    (events.MemberRoleChanged(user="u", role="admin"), '{"user":"u","role":"admin"}'),
    (events.MemberRoleChanged(user="u", role="owner", former="v"), '{"user":"u","role":"owner","from":"v"}'),
    (events.MessagePosted(text="é\n"), '{"text":"é\\n"}'),
    (
        events.MessagePosted(text="t", reply_to=2, mentions=("u",), attributes={"b": 1, "a": None}),
        '{"text":"t","reply_to":2,"mentions":["u"],"attributes":{"b":1,"a":null}}',
    ),
    (events.MessagePosted(text=None, deleted=True), '{"text":null,"deleted":true}'),
    (events.MessageEdited(target=3, text="t"), '{"target":3,"text":"t"}'),
    (events.MessageEdited(text=None, deleted=True), '{"text":null,"deleted":true}'),
    (events.MessageDeleted(target=3), '{"target":3}'),
    (events.ReactionAdded(target=3, emoji="👍"), '{"target":3,"emoji":"👍"}'),
    (events.ReactionRemoved(target=3, emoji="👍"), '{"target":3,"emoji":"👍"}'),
    (events.HistoryPruned(through=9), '{"through":9}'),
]


def test_each_kind_is_spelled() -> None:
    assert {type(data) for data, _ in SPELLED} == set(events.KINDS.values())


@pytest.mark.parametrize(("data", "spelled"), SPELLED)
def test_an_event_is_spelled_as_the_protocol_says(data: Any, spelled: str) -> None:
    event = events.Event(group="g", seq=7, id="e", kind=data.kind, by="u", at=AT, client_msg_id="c1", data=data)
    head = f'{{"type":"event","group":"g","seq":7,"id":"e","kind":"{data.kind}","by":"u","at":"{AT}",'
    assert events.encode_event(event).decode() == f'{head}"client_msg_id":"c1","data":{spelled}}}'
    assert events.decode_event(events.encode_event(event)) == event


def test_an_authoritys_event_has_a_null_author_and_one_without_a_key_a_null_key() -> None:
    event = events.Event(group="g", seq=7, id="e", kind="group.deleted", by=None, at=AT, data=events.GroupDeleted())
    assert b'"by":null,' in events.encode_event(event)
    assert b'"client_msg_id":null,"data":{}' in events.encode_event(event)
