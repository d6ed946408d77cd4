"""From a client's text to an object: what cannot be sent, is too deep or too large costs its field, and no time."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.web.asking import nested
from web.json_text import DEPTH, NO_TEXT, TOO_DEEP, TOO_LARGE, NotAnObjectError, read_object

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_any_object_is_read_as_it_was_written_unless_it_holds_nul(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    read, faults = read_object(text)
    if not faults:
        assert "\\u0000" not in text or "\\\\u0000" in text
        assert read == value
    else:
        assert "\\u0000" in text
        assert [read[bad] for bad in faults] == [None] * len(faults)


@pytest.mark.parametrize("text", ["", "[]", "1", "null", '{"a":NaN}', '{"a":-Infinity}', "{}x", "{", '{"a":\x01}'])
def test_what_is_no_object_is_told(text: str) -> None:
    with pytest.raises(NotAnObjectError):
        read_object(text)


@pytest.mark.parametrize(
    ("text", "field", "why"),
    [
        ('{"a":"\\ud800"}', "a", NO_TEXT),
        ('{"a":{"b":["\\udc00"]}}', "a", NO_TEXT),
        ('{"a":1,"b":"\\u0000"}', "b", NO_TEXT),
        ('{"a":{"\\u0000":1}}', "a", NO_TEXT),
        ('{"a":[{"b":{"\\udfff":1}}]}', "a", NO_TEXT),
        ('{"a":1e400}', "a", TOO_LARGE),
        ('{"a":[-1e400]}', "a", TOO_LARGE),
        ('{"a":' + "9" * 309 + "}", "a", TOO_LARGE),
        ('{"a":{"b":-' + "9" * 4000 + "}}", "a", TOO_LARGE),
        ('{"a":' + "9" * 60_000 + "}", "a", TOO_LARGE),
        ('{"a":1' + "0" * 60_000 + ".5}", "a", TOO_LARGE),
        ('{"a":' + nested(DEPTH) + "}", "a", TOO_DEEP),
        ('{"b":"[[[[","a":{"x":' + nested(DEPTH) + '},"c":"]"}', "a", TOO_DEEP),
        ('{"b":["]"],"a":{"x\\"]\\\\":' + nested(DEPTH) + '},"c":"]"}', "a", TOO_DEEP),
        ('{"\\u0061":' + nested(30_000) + "}", "a", TOO_DEEP),
        ('{"a":' + '{"[":' * 8_000 + "1" + "}" * 8_000 + "}", "a", TOO_DEEP),
        ('{"a":' + nested(DEPTH) + ',"a":1}', "a", TOO_DEEP),
    ],
)
def test_a_value_that_cannot_be_costs_only_its_field(text: str, field: str, why: str) -> None:
    value, faults = read_object(text)
    assert faults == {field: why}
    assert value[field] is None


def test_a_number_beyond_a_double_is_found_wherever_it_stands() -> None:
    for place in range(250):
        text = '{"a":"' + "x" * place + '","b":' + "9" * 309 + "}"
        assert read_object(text) == ({"a": "x" * place, "b": None}, {"b": TOO_LARGE})


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"\\\\u0000"}',
        '{"a":' + nested(DEPTH - 1) + "}",
        '{"a":[' + ",".join(["[]"] * 200) + "]}",
        '{"a":"' + "[" * 200 + '","b":"\\"' + "]" * 100 + '\\\\"}',
        '{"a":"' + "9" * 400 + '","b":1e308,"c":-17976931348623157' + "0" * 292 + "}",
        '{"a":123456789012345678901234567890,"a":[0.1]}',
    ],
)
def test_what_only_looks_bad_is_good(text: str) -> None:
    value, faults = read_object(text)
    assert faults == {}
    assert value == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100,
        nested(100),
        '{"a":' + "[" * 100 + "}",
        '{"a":"' + "[" * 100,
        '{"a":' + nested(100) + "x}",
        "{" + nested(100) + "}",
        '{1":' + nested(100) + "}",
    ],
)
def test_what_is_deep_and_broken_is_no_object(text: str) -> None:
    with pytest.raises(NotAnObjectError):
        read_object(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 65 + '"' + '\\"' * 32_000,  # each quote that might begin a string is looked at once, not from each before
        '{"a":"' + '\\"' * 32_000,
        "[" * 65_000,
        '{"a":' + "[" * 70 + ",".join(["[]"] * 20_000) + "]" * 70 + "}",
        '{"a":' + '{"":' * 13_000 + "1" + "}" * 13_000 + "}",
        '{"a":' + nested(70) + "," + ",".join(f'"{i:x}":[]' for i in range(6_000)) + "}",
        '{"a":"' + "\\ud800" * 10_000 + '"}',
        '{"a":' + "9" * 65_000 + "}",
        '{"a":0.' + "0" * 65_000 + "1}",
    ],
    ids=lambda text: text[:8],
)
def test_no_frame_holds_the_loop(text: str) -> None:
    def read() -> float:
        began = time.process_time()
        with contextlib.suppress(NotAnObjectError):
            read_object(text)
        return time.process_time() - began

    # An ordinary machine needs 12 ms at most; what grows with the square of the length needs seconds.
    assert min(read() for _ in range(3)) < 0.25
