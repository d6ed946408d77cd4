"""Records of every version are read, and mean what they meant (tests/golden)."""

import base64
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app import reads
from app.domain import commands, events
from app.domain.commands import decode_command, split_array
from app.domain.events import decode_event, encode_event
from app.domain.evolve import evolve
from app.domain.state import Group
from app.log.fence import Fence
from app.log.records import ClaimRecord, EventRecord, decode_record, encode_claim
from tables import group_rows, history_rows, loader, rows
from tables.partition_tables import PartitionTables
from tests.golden.spelling import messages, missing, spelled
from tests.support.memory_store import MemoryStore

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = sorted((folder.name for folder in GOLDEN.iterdir() if folder.name.isdecimal()), key=int)
PRESENT = VERSIONS[-1]

each_version = pytest.mark.parametrize("version", VERSIONS)


def lines(version: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / version / f"{name}.jsonl").read_text().splitlines()]


def stored(version: str, name: str) -> Any:
    return json.loads((GOLDEN / version / f"{name}.json").read_text())


def agree(version: str, now: Any, then: Any) -> None:
    """An earlier version's record says all that it said; one of the present version says exactly that."""
    assert missing(now, then) == []
    if version == PRESENT:
        assert missing(then, now) == [], "a field is new: add a version (tests/golden/README.md)"


# Topics


def read_log(version: str) -> Iterator[tuple[dict[str, Any], EventRecord | ClaimRecord]]:
    for line in lines(version, "events"):
        key = None if line["key"] is None else line["key"].encode()
        headers = [(name, text.encode()) for name, text in line["headers"]]
        yield line, decode_record(offset=line["offset"], key=key, value=line["value"].encode(), headers=headers)


@each_version
def test_events_and_claims_are_read(version: str) -> None:
    for line, record in read_log(version):
        if isinstance(record, ClaimRecord):
            agree(version, spelled(record.claim), line["means"])
            continue
        event = decode_event(record.value)
        agree(version, spelled(event), line["means"])
        assert (record.group, record.seq, record.kind) == (event.group, event.seq, event.kind)
        assert record.place.offset >= 0


@each_version
def test_events_and_claims_are_still_written_byte_for_byte_as_they_were(version: str) -> None:
    for line, record in read_log(version):
        if isinstance(record, ClaimRecord):
            again = encode_claim(record.claim)
        else:
            again = encode_event(decode_event(record.value))
        assert again.decode() == line["value"]


@each_version
def test_the_fold_of_the_log_is_the_state_that_it_was(version: str) -> None:
    fence, groups = Fence(), {}
    for line, record in read_log(version):
        assert fence.admits(record) != line.get("void", False)
        if isinstance(record, EventRecord) and "void" not in line:
            group = groups.setdefault(record.group, Group(record.group))
            evolve(group, decode_event(record.value), record.request)
    states_agree(version, groups)


@each_version
def test_commands_are_read(version: str) -> None:
    for line in lines(version, "commands"):
        elements = split_array(line["value"].encode())
        agree(version, [spelled(decode_command(raw)) for raw in elements], line["means"])


@each_version
def test_replies_and_owners_are_read(version: str) -> None:
    for line in lines(version, "replies"):
        agree(version, spelled(reads.decode_outcome(line["value"].encode())), line["means"])
    for line in lines(version, "owners"):
        agree(version, spelled(reads.decode_owner(line["value"].encode())), line["means"])


@each_version
def test_a_dead_letter_says_why_and_where_it_stood(version: str) -> None:
    (line,) = lines(version, "deadletters")
    headers = dict(line["headers"])
    assert line["value"] == "{"
    assert (headers["topic"], headers["partition"], headers["offset"]) == ("chat.group.commands.v1", "3", "41")
    assert headers["reason"].startswith("not decodable")


@each_version
def test_reads_and_answers_are_read(version: str) -> None:
    for line in lines(version, "reads"):
        agree(version, spelled(reads.decode_reads(line["value"].encode())), line["means"])
    for line in lines(version, "answers"):
        agree(version, spelled(reads.decode_answers(line["value"].encode())), line["means"])


# Tables


def changes(version: str, table: str) -> list[tuple[bytes, bytes | None, dict[str, Any]]]:
    return [
        (base64.b64decode(line["key"]), None if line["value"] is None else base64.b64decode(line["value"]), line)
        for line in lines(version, table)
    ]


def loaded(version: str) -> PartitionTables:
    stores = {"groups": MemoryStore(), "history": MemoryStore()}
    for table, store in stores.items():
        store.write([(key, row) for key, row, _ in changes(version, table)], 0)
    return PartitionTables(stores["groups"], stores["history"])


def states_agree(version: str, groups: dict[str, Group]) -> None:
    then = stored(version, "state")
    assert set(groups) == set(then)
    for name, group in groups.items():
        now = spelled(group)
        for state in (now, then[name]):
            state["past"].sort()  # of users; only each one's spans have an order
        agree(version, now, then[name])


@each_version
def test_the_rows_of_groups_are_the_state_that_it_was(version: str) -> None:
    tables = loaded(version)
    states_agree(version, {name: tables.group(name) for name in stored(version, "state")})


@each_version
def test_a_state_of_old_rows_is_written_as_rows_of_today_and_read_back(version: str) -> None:
    tables = loaded(version)
    for name in stored(version, "state"):
        group = tables.group(name)
        parts: set[tuple[str, ...]] = {("head",)} | {("member", user) for user in group.members}
        parts |= {("ban", user) for user in group.banned} | {("sent", *key) for key in group.sent}
        parts |= {("past", user, str(since)) for user, spans in group.past.items() for since, _ in spans}
        parts |= {("rule", str(since)) for since, _ in group.rules}
        store = MemoryStore()
        store.write(list(group_rows.part_rows(group, parts, epoch=1)), 0)
        again = PartitionTables(store, MemoryStore()).group(name)
        assert spelled(again) | {"past": sorted(again.past)} == spelled(group) | {"past": sorted(group.past)}


@each_version
def test_the_rows_of_events_are_those_of_the_log_but_for_what_was_deleted(version: str) -> None:
    tables, redacted = loaded(version), []
    for _, record in read_log(version):
        if isinstance(record, EventRecord) and (value := tables.event(record.group, record.seq)) != record.value:
            if value is not None and b'"deleted":true' in value:
                redacted.append(spelled(decode_event(value))["data"])
            elif value is None:  # pruned, or of a fenced owner
                assert record.seq <= tables.group(record.group).pruned
    assert version == "1" or len(redacted) == 2  # a message and its edit
    assert all(data["text"] is None and data["deleted"] for data in redacted)


@each_version
def test_what_became_of_messages_is_what_it_was(version: str) -> None:
    if (GOLDEN / version / "messages.json").exists():
        then, tables = stored(version, "messages"), loaded(version)
        assert {name: messages(tables, name) for name in then} == then


@each_version
@pytest.mark.parametrize("table", ["groups", "history"])
def test_positions_claims_and_deletions_of_a_changelog_are_read(version: str, table: str) -> None:
    claim = -1
    for key, row, line in changes(version, table):
        headers = [(name, text.encode()) for name, text in line.get("headers", [])]
        if key.startswith(rows.CLAIM_PREFIX):
            assert row is not None
            claim = rows.epoch_of(row)
            assert (rows.claim_key(claim), rows.payload_of(row)[:1]) == (key, b"w")
        elif key == rows.POSITION_KEY:
            assert row is not None
            agree(version, spelled(rows.decode_position(row)), line["means"])
        message: Any = SimpleNamespace(value=lambda row=row: row, headers=lambda headers=headers: headers or None)
        assert loader.epoch_of(message) >= claim or row is None


# The present version lacks nothing


def shown(name: str) -> list[Any]:
    return [line["means"] for line in lines(PRESENT, name)]


def test_the_present_version_has_every_command_event_and_read() -> None:
    asked = {one["is"] for each in shown("commands") for one in each}
    assert asked == {kind.__struct_config__.tag for kind in typing.get_args(commands.AnyCommand)}
    assert {line["is"] for line in lines(PRESENT, "events")} == {*events.KINDS, "claim"}
    read = {one["is"] for each in shown("reads") for one in each}
    assert read == {kind.__struct_config__.tag for kind in typing.get_args(reads.AnyRead)}


def test_the_present_version_has_every_field_of_answers_and_replies() -> None:
    said_by = {reads.Answer: [one for each in shown("answers") for one in each], reads.Outcome: shown("replies")}
    for kind, said in said_by.items():
        plain = spelled(kind(command="") if kind is reads.Outcome else kind())
        for name, default in plain.items():
            assert any(one[name] != default for one in said), f"no {kind.__name__} with {name}"
    why = typing.get_args(typing.get_args(typing.get_type_hints(reads.Answer)["missing"])[0])
    assert {one["missing"] for one in said_by[reads.Answer]} == {None, *why}


def documented_kinds(keys: str) -> set[str]:
    """The kinds of row in a module's table of keys: the letter behind the group (and a seq's), or its own word."""
    of_groups = re.findall(r"`<group> NUL (\w)(?: <seq> (\w) )?", keys)
    return {"".join(kind) for kind in of_groups} | set(re.findall(r"`NUL (\w+)", keys))


def kind_of(key: bytes, words: set[str]) -> str:
    if key.startswith(b"\x00"):
        return next((w for w in words if len(w) > 2 and key.startswith(b"\x00" + w.encode())), repr(key))
    rest = key[key.index(b"\x00") + 1 :]
    return (rest[:1] + rest[9:10] if rest[:1] == b"d" else rest[:1]).decode()


def test_the_present_version_has_every_kind_of_row() -> None:
    documented = documented_kinds(rows.__doc__ or "") | documented_kinds(history_rows.__doc__ or "")
    assert {"h", "m", "de", "dr", "position"} <= documented
    every = [*changes(PRESENT, "groups"), *changes(PRESENT, "history")]
    assert {kind_of(key, documented) for key, row, _ in every if row is not None} == documented
    assert any(row is None for _, row, _ in every)
