"""The neighbours' Avro: what is one record exactly, and nothing else (protocol §8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges import avro

# Protocol §8's own example.
CREATED = bytes.fromhex("04673104753106416461104c6f76656c6163651e616461406578616d706c652e6f7267")
USER = {"id": {"username": "u1"}, "name": "Ada", "surname": "Lovelace", "email": "ada@example.org"}


def test_the_protocols_example_is_decoded_and_encoded_again() -> None:
    record = avro.decode("GroupCreatedEvent", CREATED)

    assert record == {"groupId": {"value": "g1"}, "createdBy": USER}
    assert avro.encode("GroupCreatedEvent", record) == CREATED


def test_the_protocols_deletion_is_decoded() -> None:
    assert avro.decode("GroupDeletedEvent", bytes.fromhex("046731")) == {"groupId": {"value": "g1"}}


@pytest.mark.parametrize("length", range(len(CREATED)))
def test_a_body_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(avro.AvroError, match="ends early"):
        avro.decode("GroupCreatedEvent", CREATED[:length])


def test_a_body_that_goes_on_is_refused() -> None:
    with pytest.raises(avro.AvroError, match="2 bytes follow"):
        avro.decode("GroupCreatedEvent", CREATED + b"\0\0")


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",
        b"\x03abc",
        b"\x04\xff\xfe",
        b"\xff" * 12,
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80" * 40,
        b"",
    ],
)
def test_lengths_below_nothing_or_beyond_everything_and_bytes_that_are_no_text_are_refused(body: bytes) -> None:
    with pytest.raises(avro.AvroError):
        avro.decode("GroupDeletedEvent", body)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(body: bytes) -> None:
    try:
        record = avro.decode("GroupCreatedEvent", body)
    except avro.AvroError:
        return
    # Avro's numbers can be spelled longer than need be, so that the spelling may differ, but not the record.
    assert avro.decode("GroupCreatedEvent", avro.encode("GroupCreatedEvent", record)) == record


@given(st.text(), st.text(), st.text())
def test_a_push_record_survives_the_way(group: str, sender: str, text: str) -> None:
    record = {
        "recipient": {"value": group},
        "sender": {"username": sender},
        "message": {"title": text, "body": text},
    }

    assert avro.decode("AvroGroupWisePushNotification", avro.encode("AvroGroupWisePushNotification", record)) == record
