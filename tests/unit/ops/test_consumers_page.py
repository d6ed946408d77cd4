"""docs/consumers.md says what is there, and its Python consumer keeps what counts wherever it is cut."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.domain.events import KINDS, decode_event, encode_event
from app.kafka.partition import partition_for
from app.kafka.topic_specs import specs
from app.log.records import Claim, CommandPlace, encode_claim, event_headers
from app.reads import decode_owner, encode_owner
from tests.support.void_log import Record, Row, by_chance, by_hand, fold

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "consumers.md").read_text()
CONSUMER = (ROOT / "docs" / "consumers" / "plain_consumer.py").read_text()
LOG = "0f8fad5bTZ2m0n4bq7uYQA"
HAND, CHANCE = by_hand(LOG).records, by_chance(LOG, 600, seed=3).records


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


EXAMPLES = [line for block in blocks("json") for line in block.splitlines()]
EVENTS = [line for line in EXAMPLES if line.startswith('{"type":"event"')]


def loaded(source: str) -> Any:
    """A program's functions, by name."""
    names: dict[str, Any] = {"__name__": "consumer"}
    exec(compile(source, "plain_consumer.py", "exec"), names)
    return names


def kept(records: list[Record], *, source: str = CONSUMER, cut: int | None = None, bare: bool = False) -> list[Row]:
    """What the consumer keeps, killed with the record `cut` in its hands; `bare`: it then knows the offset alone."""
    consumer, db = loaded(source), sqlite3.connect(":memory:")
    db.executescript(consumer["TABLES"])
    for place, record in enumerate(records):
        if place == cut:
            consumer["take"](db, LOG, record)
            db.rollback()
            if bare:
                db.execute("UPDATE positions SET epoch = -1")
        consumer["take"](db, LOG, record)
        db.commit()
    return sorted(db.execute('SELECT "group", seq, kind, value FROM events'))


def test_the_examples_are_what_the_encoder_writes_and_there_is_one_of_each_kind() -> None:
    events = [decode_event(line.encode()) for line in EVENTS]

    assert [encode_event(event).decode() for event in events] == EVENTS
    assert {event.kind for event in events} == set(KINDS)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_the_claim_and_the_owner_record_are_what_the_encoders_write() -> None:
    claim, owner = (line for line in EXAMPLES if line not in EVENTS)

    assert encode_claim(msgspec.json.decode(claim, type=Claim)).decode() == claim
    assert encode_owner(decode_owner(owner.encode())).decode() == owner


def test_the_headers_are_those_of_the_example() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `([^`]*)` \|", PAGE, flags=re.MULTILINE))
    posted = decode_event(EVENTS[3].encode())
    place = CommandPlace(int(rows["command_offset"]), int(rows["command_index"]))

    written = event_headers(
        posted,
        epoch=3,
        command_id=rows["command_id"],
        topic_id=rows["command_topic_id"],
        place=place,
        request=rows["request"],
    )

    assert rows == {name: value.decode() for name, value in written}


def test_every_topic_is_named_and_a_key_is_in_its_partition() -> None:
    assert {spec.name for spec in specs("auerbach", 1)} <= set(re.findall(r"`([\w.-]+)`", PAGE))
    ((one, in_one, two, in_two),) = re.findall(r"`(\w+)` is in (\d+), `(\w+)` in (\d+)", PAGE)
    assert [partition_for(key.encode(), 16) for key in (one, two)] == [int(in_one), int(in_two)]


def test_the_rule_as_it_is_printed_is_the_services_own() -> None:
    (printed,) = blocks("python")
    counts = loaded(printed)["counts"]

    believed = [each for each in HAND + CHANCE if counts(each.partition(), each.offset(), dict(each.headers()))]

    assert [each.value().decode() for each in believed] == [value for *_, value in fold(HAND + CHANCE)]
    assert len(believed) < len(HAND + CHANCE)


def test_the_tables_are_those_of_the_consumer() -> None:
    tables = loaded(CONSUMER)["TABLES"].replace("IF NOT EXISTS ", "")

    assert tables.strip() == blocks("sql")[0].strip()


@pytest.mark.parametrize("cut", range(len(HAND)))
def test_killed_with_any_record_in_its_hands_the_consumer_keeps_the_fold(cut: int) -> None:
    assert kept(HAND, cut=cut) == sorted(fold(HAND))


def test_over_a_long_log_of_many_owners_the_consumer_keeps_the_fold() -> None:
    assert kept(CHANCE) == sorted(fold(CHANCE))


def test_without_the_rule_or_from_a_bare_offset_it_is_seen() -> None:
    unruled = CONSUMER.replace('int(headers["epoch"]) >= epoch', "True")
    assert unruled != CONSUMER

    assert kept(CHANCE, source=unruled) != sorted(fold(CHANCE))
    assert kept(HAND, cut=4) == sorted(fold(HAND))
    assert kept(HAND, cut=4, bare=True) != sorted(fold(HAND))


def test_a_claim_of_another_log_and_a_lost_place_end_the_consumer() -> None:
    with pytest.raises(SystemExit, match="the log was replaced"):
        kept(by_hand("another").records)
    with pytest.raises(SystemExit, match="g1: 5 follows 3"):
        kept([each for each in HAND if b'"seq":4,' not in each.value()])


def test_what_was_deleted_or_pruned_is_gone_from_the_database() -> None:
    _tables, redact, prune = blocks("sql")
    consumer, db = loaded(CONSUMER), sqlite3.connect(":memory:")
    db.executescript(consumer["TABLES"])
    events = [decode_event(line.encode()) for line in EVENTS]
    for event, line in zip(events, EVENTS, strict=True):
        consumer["keep"](db, event.group, event.seq, event.kind, line)

    db.execute(redact, {"group": "g1", "target": 4})
    data = {seq: json.loads(value)["data"] for seq, value in db.execute("SELECT seq, value FROM events")}
    assert data[4] == data[6] == {"text": None, "deleted": True}
    assert data[5]["text"] == "I am"
    db.execute(prune, {"group": "g1", "through": 7})

    left = {seq for (seq,) in db.execute("SELECT seq FROM events")}
    assert {1, 2, 3, 8} <= left
    assert not {4, 5, 6, 7} & left
