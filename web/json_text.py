"""A client's text as a JSON object, with the faults that are a field's told from those that are the frame's.

msgspec alone stops at the first fault of a text. Here a lone surrogate, U+0000, an over-deep or infinite value
costs only the field that it stands in, so that the request still gets its one reply (protocol §2).
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

from app.domain import rules

# Deep enough for any attributes that are of use, and far from every decoder's recursion limit down the road.
DEPTH = 64

_decoder = msgspec.json.Decoder()
_tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class NotAnObjectError(Exception):
    """The text is not a JSON object."""


def read_object(text: str) -> tuple[dict[str, Any], str | None]:
    """The object that `text` is, and its first field with a value that no text or number may have.

    That field's value is None in the object.

    Raises:
        NotAnObjectError: not JSON (NaN and Infinity are not), or another value than an object.
    """
    text, deep = _flatten(text)
    try:
        value = _decoder.decode(text)
        suspect = "\\u0000" in text
    except (msgspec.DecodeError, UnicodeError):
        value, suspect = _tolerant(text), True
    if not isinstance(value, dict):
        raise NotAnObjectError
    bad = next((field for field, item in value.items() if _bad(field, item)), None) if suspect else None
    if bad is not None:
        value[bad] = None
    return value, bad if bad is not None else deep


def _flatten(text: str) -> tuple[str, str | None]:
    """`text` with null for each value of the outer object that is deeper than `DEPTH`, and the first such field."""
    if text.count("[") + text.count("{") <= DEPTH:
        return text, None
    depth = start = deepest = done = 0
    field, first = "", None
    kept = []
    for token in _tokens.finditer(text):
        match token.group():
            case "[" | "{":
                depth += 1
                deepest = max(deepest, depth)
                if depth == 2:
                    start, deepest = token.start(), depth
            case "]" | "}":
                depth -= 1
                if depth == 1 and deepest > DEPTH:
                    kept += [text[done:start], "null"]
                    done, deepest = token.end(), depth
                    first = first or field
            case string:
                if depth == 1:
                    field = string[1:-1]  # where a value is a container, the string before it is its name
    if depth != 0:
        raise NotAnObjectError
    return "".join([*kept, text[done:]]), first


def _tolerant(text: str) -> Any:
    """The value of `text`, lone surrogates and over-large numbers let through."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise NotAnObjectError from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else math.inf


def _bad(field: str, item: Any) -> bool:
    return rules.bad_value(field) or rules.bad_value(item) or _infinite(item)


def _infinite(item: Any) -> bool:
    match item:
        case float():
            return not math.isfinite(item)
        case dict():
            return any(_infinite(value) for value in item.values())
        case list():
            return any(_infinite(value) for value in item)
    return False
