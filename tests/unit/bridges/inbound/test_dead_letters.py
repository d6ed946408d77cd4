"""The record of a message that is put aside: what came, why, and never more than a record holds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridges.inbound import dead_letters
from bridges.inbound.updates import Refused

RECORD_BYTES = 1_048_588  # Kafka's own default, of the topic, too


def letter(
    body: bytes = b"body", headers: dict[str, Any] | None = None, undecoded: bytes | None = None
) -> tuple[bytes, dict[str, bytes]]:
    value, found = dead_letters.record(
        Refused("bad body", "why"),
        queue="q",
        body=body,
        headers=headers,
        undecoded=undecoded,
        details={"exchange": "e", "message_id": None},
    )
    return value, dict(found)


def test_it_has_the_body_the_headers_the_reason_and_the_origin() -> None:
    value, headers = letter(b"body", {"message_type": "X", "n": 1})

    assert value == b"body"
    assert headers == {
        "message_type": b"X",
        "n": b"1",
        "amqp.exchange": b"e",
        "reason": b"bad body: why",
        "topic": b"amqp:q",
    }


def test_what_is_ours_is_read_last_whatever_the_publisher_calls_its_headers() -> None:
    _, headers = letter(b"", {"reason": "fine", "topic": "chat.group.events.v1"})

    assert (headers["reason"], headers["topic"]) == (b"bad body: why", b"amqp:q")


def test_headers_that_could_not_be_decoded_are_kept_as_they_came() -> None:
    assert letter(undecoded=b"\xff\x00")[1]["amqp.properties"] == b"\xff\x00"


def test_a_body_over_the_bound_is_cut_and_told_with_its_size() -> None:
    value, headers = letter(b"x" * (dead_letters.BODY_BYTES + 1))

    assert len(value) == dead_letters.BODY_BYTES
    assert headers["cut"].startswith(b"body of %d bytes, SHA-256 " % (dead_letters.BODY_BYTES + 1))


def test_a_header_over_the_bound_is_cut_and_told_with_its_size() -> None:
    _, headers = letter(headers={"long": "v" * (dead_letters.HEADER_BYTES + 1)})

    assert len(headers["long"]) == dead_letters.HEADER_BYTES
    assert headers["cut"].startswith(b"header long of %d bytes" % (dead_letters.HEADER_BYTES + 1))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.binary(max_size=50), st.dictionaries(st.text(st.characters(), max_size=255), _values, max_size=5))
def test_whatever_headers_there_are_it_fits_into_a_record(body: bytes, headers: dict[str, Any]) -> None:
    value, found = dead_letters.record(
        Refused("bad body"), queue="q", body=body, headers=headers, undecoded=None, details={}
    )

    assert all(name.encode() for name, _ in found if name)
    assert len(value) + sum(len(name.encode()) + len(content) for name, content in found) < RECORD_BYTES


def test_as_many_headers_as_rabbitmq_takes_fit_into_a_record() -> None:
    headers = {f"{n:0250}": "v" * 1000 for n in range(2000)}

    value, found = letter(b"x" * 1_000_000, headers)

    assert b"more headers" in found["cut"]
    assert len(value) + sum(len(name) + len(content) + 10 for name, content in found.items()) < RECORD_BYTES
