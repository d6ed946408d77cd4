"""A client's text as a JSON object, with the faults that are a field's told from those that are the frame's.

msgspec alone stops at the first fault of a text. Here a lone surrogate, U+0000, an over-deep or over-large value
costs only the field that it stands in, so that the request still gets its one reply (protocol §2). Whatever the text
is, it is read in a time that grows with its length alone.
"""

import json
import math
import re
import sys
from itertools import accumulate
from typing import Any, NoReturn

import msgspec

from app.domain import rules

# Deep enough for any attributes that are of use, and far from every decoder's recursion limit down the road.
DEPTH = 64
# A number that no double holds would be Infinity to most who read the log, and no JSON when they pass it on.
_LARGEST = int(sys.float_info.max)
_DIGITS = len(str(_LARGEST))

NO_TEXT = "must not hold U+0000 or a lone surrogate"
TOO_DEEP = f"must not be nested deeper than {DEPTH} levels, those of the request included"
TOO_LARGE = "must not hold a number beyond those that a double holds"

_decoder = msgspec.json.Decoder()
# Every so manieth character of a text tells whether it may hold a number as long as that, at a hundredth of the cost.
_SAMPLE = 100
_long_number = re.compile(f"[0-9]{{{_DIGITS // _SAMPLE}}}")
# How each byte changes the depth; 255 is -1 as a signed byte.
_steps = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256))


class NotAnObjectError(Exception):
    """The text is not a JSON object."""


def read_object(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The object that `text` is, and the fields whose value is none that may be, each with why (`NO_TEXT` and so on).

    Such a field's value is None in the object. Of a name that comes twice the last value holds.

    Raises:
        NotAnObjectError: not JSON (NaN and Infinity are not), or another value than an object.
    """
    text, deep = _flatten(text)
    try:
        value = _decoder.decode(text)
        suspect = "\\u0000" in text or _long_number.search(text[::_SAMPLE]) is not None
    except (msgspec.DecodeError, UnicodeError):
        value, suspect = _tolerant(text), True
    if not isinstance(value, dict):
        raise NotAnObjectError
    faults = {field: TOO_DEEP for field in deep if field in value}
    if suspect:
        for field, item in value.items():
            if why := _fault(field, item):
                faults[field] = why
    for field in faults:
        value[field] = None
    return value, faults


def _flatten(text: str) -> tuple[str, list[str]]:
    """`text` with null for each value of the outer object that is too deep, and the names of those.

    What is inside such a value is not looked into. No step is one of Python a character: a hostile frame costs little.
    """
    if text.count("[") + text.count("{") <= DEPTH:
        return text, []
    bare = _without_strings(text)
    steps = memoryview(bare.encode("latin-1", "replace").translate(_steps)).cast("b")
    depths = list(accumulate(steps))
    if depths[-1] != 0:
        raise NotAnObjectError
    if max(depths) <= DEPTH:
        return text, []
    kept, names = [], []
    done = at = 0
    while (start := _next_at(depths, 2, at)) is not None:
        at = depths.index(1, start)  # where that value ends, for in the end the depth is 0
        if max(depths[start:at]) > DEPTH:
            names.append(_name_before(text, bare, start))
            kept += [text[done:start], "null"]
            done = at + 1
    return "".join([*kept, text[done:]]), names


def _next_at(depths: list[int], depth: int, start: int) -> int | None:
    try:
        return depths.index(depth, start)
    except ValueError:
        return None


def _without_strings(text: str) -> str:
    """`text`, as long as it is, with nothing between the quotes of its strings."""
    parts = text.replace("\\\\", "  ").replace('\\"', "  ").split('"')
    if len(parts) % 2 == 0:
        raise NotAnObjectError  # a string that does not end
    parts[1::2] = [" " * len(inside) for inside in parts[1::2]]
    return '"'.join(parts)


def _name_before(text: str, bare: str, start: int) -> str:
    """The name of the field whose value begins at `start`: the string before it."""
    end = bare.rfind('"', 0, start)
    begin = bare.rfind('"', 0, max(end, 0))
    try:
        return str(json.loads(text[begin : end + 1] if begin >= 0 else ""))
    except ValueError:
        raise NotAnObjectError from None


def _tolerant(text: str) -> Any:
    """The value of `text`, lone surrogates and over-large numbers let through."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise NotAnObjectError from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS + 1 else math.inf


def _fault(field: str, item: Any) -> str | None:
    if rules.bad_value(field) or rules.bad_value(item):
        return NO_TEXT
    return TOO_LARGE if _too_large(item) else None


def _too_large(item: Any) -> bool:
    match item:
        case int():
            return not -_LARGEST <= item <= _LARGEST
        case float():
            return not math.isfinite(item)
        case dict():
            return any(_too_large(value) for value in item.values())
        case list():
            return any(_too_large(value) for value in item)
    return False
