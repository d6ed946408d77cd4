"""The record format and the fence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.events import Event, MessagePosted, encode_event
from app.kafka.partition import partition_for
from app.log.fence import Fence
from app.log.records import (
    Claim,
    ClaimRecord,
    CommandPlace,
    EventRecord,
    RecordError,
    claim_headers,
    decode_record,
    encode_claim,
    event_headers,
)
from tests.support.java_keys import GOLDEN

EVENT = Event(
    group="g", seq=3, id="i", kind="message.posted", by="a", at="2026-11-25T01:20:00.123Z", data=MessagePosted(text="t")
)
HEADERS = event_headers(EVENT, epoch=5, command_id="c", topic_id="t", place=CommandPlace(9, 1))


def record(offset: int, epoch: int) -> EventRecord:
    return EventRecord(offset, epoch, "g", 1, "message.posted", "c", "t", CommandPlace(0, 0), b"{}")


def claim(offset: int) -> ClaimRecord:
    return ClaimRecord(offset, Claim(log="l", worker="w", at=EVENT.at))


def test_an_event_record_survives_its_headers() -> None:
    value = encode_event(EVENT)
    decoded = decode_record(offset=12, key=b"g", value=value, headers=HEADERS)
    assert decoded == EventRecord(12, 5, "g", 3, "message.posted", "c", "t", CommandPlace(9, 1), value)


def test_a_claim_survives() -> None:
    made = Claim(log="l", worker="w", at=EVENT.at)
    assert decode_record(offset=4, key=None, value=encode_claim(made), headers=claim_headers()) == ClaimRecord(4, made)


@pytest.mark.parametrize("name", ["seq", "epoch", "kind", "command_id", "command_offset", "command_index"])
def test_an_event_that_lacks_a_header_is_an_error_that_names_its_offset(name: str) -> None:
    headers = [(k, v) for k, v in HEADERS if k != name]
    with pytest.raises(RecordError, match="offset 12"):
        decode_record(offset=12, key=b"g", value=b"{}", headers=headers)


def test_no_value_no_key_and_a_broken_claim_are_errors() -> None:
    for key, value, headers in ((b"g", None, HEADERS), (None, b"{}", HEADERS), (None, b"{", claim_headers())):
        with pytest.raises(RecordError):
            decode_record(offset=1, key=key, value=value, headers=headers)


def test_a_record_behind_a_newer_claim_is_void() -> None:
    fence = Fence()
    assert fence.admits(claim(0))
    assert fence.admits(record(1, epoch=0))
    assert fence.admits(claim(2))
    assert not fence.admits(record(3, epoch=0))
    assert fence.admits(record(4, epoch=2))


def test_a_reader_that_starts_in_the_middle_voids_what_the_epoch_in_force_voids() -> None:
    assert not Fence(epoch=7).admits(record(9, epoch=3))


@given(st.integers(0, 20))
def test_readers_that_start_anywhere_with_the_pair_agree_with_one_that_starts_at_the_beginning(start: int) -> None:
    log = [
        claim(0),
        record(1, 0),
        claim(2),
        record(3, 0),
        record(4, 2),
        claim(5),
        record(6, 2),
        record(7, 5),
        record(8, 0),
    ]
    whole, verdicts, epochs = Fence(), [], []
    for each in log:
        epochs.append(whole.epoch)
        verdicts.append(whole.admits(each))
    start = min(start, len(log) - 1)
    middle = Fence(epochs[start])
    assert [middle.admits(each) for each in log[start:]] == verdicts[start:]


@pytest.mark.parametrize(("key", "hashed"), GOLDEN)
def test_partitions_are_those_of_the_java_client(key: str, hashed: int) -> None:
    assert partition_for(key.encode(), 16) == hashed % 16
    assert partition_for(key.encode(), 7) == hashed % 7
    assert partition_for(key.encode(), 2**31) == hashed
