"""Field rules: what a command may carry (protocol §2, §9). Used at every door and again by the owner."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from app.domain.commands import (
    AddMember,
    Command,
    CreateGroup,
    Delete,
    Edit,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.outcomes import Rejection

ID_BYTES = 128
CLIENT_MSG_ID_BYTES = 64
NAME_BYTES = 256
TOPIC_BYTES = 1024
TEXT_BYTES = 16_384
ATTRIBUTES_BYTES = 4096
MENTIONS = 100
EMOJI_BYTES = 64
SEQ_LIMIT = 2**53
VALUE_DEPTH = 64  # far from every decoder's recursion limit down the road, which would stop all who read the log

_DOTS = frozenset({".", ".."})

_control = re.compile("[\x00-\x1f\x7f-\x9f]")  # Unicode's Cc
_forbidden = re.compile("[\x00\ud800-\udfff]")  # not storable as text anywhere


def invalid(field: str, why: str) -> Rejection:
    """A refusal of one field."""
    return Rejection("invalid", f"{field}: {why}", field=field)


def size(text: str) -> int:
    """Bytes of `text` in UTF-8; a lone surrogate counts as three and is refused elsewhere."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def bad_id(value: str, limit: int = ID_BYTES) -> str | None:
    """Why `value` is no id, or None if it is one.

    An id is opaque and compared byte for byte; `.` and `..` are refused because URLs swallow them.
    """
    if _plain(value, limit) and value[0] > " " < value[-1] and value not in _DOTS:
        return None
    if not 1 <= size(value) <= limit:
        return f"must be 1 to {limit} bytes of UTF-8"
    if _control.search(value) or _forbidden.search(value):
        return "must not contain a control character or a lone surrogate"
    if value[0].isspace() or value[-1].isspace():
        return "must not begin or end with whitespace"
    if value in _DOTS:
        return "must not be '.' or '..'"
    return None


def bad_text(value: str, low: int, high: int) -> str | None:
    """Why `value` is no text of `low` to `high` bytes, or None if it is."""
    if low and _plain(value, high):
        return None
    if not low <= size(value) <= high:
        return f"must be {low} to {high} bytes of UTF-8"
    if _forbidden.search(value):
        return "must not contain U+0000 or a lone surrogate"
    return None


def _plain(value: str, limit: int) -> bool:
    """Whether `value` is printable ASCII within `limit`, as most text is: three calls instead of two searches."""
    return 0 < len(value) <= limit and value.isascii() and value.isprintable()


def bad_value(value: Any, depth: int = VALUE_DEPTH) -> bool:
    """Whether a JSON value holds, anywhere, text that is refused everywhere, or is nested deeper than `depth`."""
    if isinstance(value, str):
        return _forbidden.search(value) is not None
    if isinstance(value, dict):
        return depth == 0 or any(bad_value(k) or bad_value(v, depth - 1) for k, v in value.items())
    if isinstance(value, list):
        return depth == 0 or any(bad_value(v, depth - 1) for v in value)
    return False


def check(command: Command) -> Rejection | None:
    """The first field of `command` that breaks a rule, as a refusal; None if all hold."""
    return next(_refusals(command), None)


def _refusals(c: Command) -> Iterator[Rejection]:  # noqa: C901 - a branch a command
    if why := bad_id(c.group):
        yield invalid("group", why)
    if c.by is not None and (why := bad_id(c.by)):
        yield invalid("by", why)
    if c.client_msg_id is not None and (why := bad_text(c.client_msg_id, 1, CLIENT_MSG_ID_BYTES)):
        yield invalid("client_msg_id", why)
    match c:
        case Send():  # first, for it is what most commands are
            yield from _send(c)
        case CreateGroup():
            yield from _create(c)
        case UpdateGroup():
            yield from _naming(c.name, c.topic)
        case AddMember() | RemoveMember() | Unban() | SetRole():
            if why := bad_id(c.user):
                yield invalid("user", why)
            if isinstance(c, AddMember) and c.role == "owner":
                yield invalid("role", "must not be owner: ownership is transferred")
            if isinstance(c, RemoveMember) and c.user == c.by:
                yield invalid("user", "must not be oneself: one leaves")
        case Edit():
            yield from _seq("seq", c.seq)
            yield from _text(c.text)
        case Delete():
            yield from _seq("seq", c.seq)
        case React() | Unreact():
            yield from _seq("seq", c.seq)
            if why := bad_text(c.emoji, 1, EMOJI_BYTES):
                yield invalid("emoji", why)
        case PruneHistory():
            yield from _seq("through", c.through)


def _naming(name: str | None, topic: str | None) -> Iterator[Rejection]:
    if name is not None and (why := bad_text(name, 1, NAME_BYTES)):
        yield invalid("name", why)
    if topic is not None and (why := bad_text(topic, 0, TOPIC_BYTES)):
        yield invalid("topic", why)


def _seq(field: str, seq: int) -> Iterator[Rejection]:
    if not 0 <= seq < SEQ_LIMIT:
        yield invalid(field, "must be a seq: an integer from 0 below 2^53")


def _text(text: str) -> Iterator[Rejection]:
    if size(text) > TEXT_BYTES:
        yield Rejection("too_large", f"text: must be 1 to {TEXT_BYTES} bytes of UTF-8", field="text")
    if why := bad_text(text, 1, TEXT_BYTES):
        yield invalid("text", why)


def _create(c: CreateGroup) -> Iterator[Rejection]:
    yield from _naming(c.name, c.topic)
    for member in c.members:
        if why := bad_id(member.user):
            yield invalid("members", why)
        if member.role == "owner" and member.user != c.by:
            yield invalid("members", "must not name an owner: the creator is it")


def _send(c: Send) -> Iterator[Rejection]:
    yield from _text(c.text)
    if c.reply_to is not None:
        yield from _seq("reply_to", c.reply_to)
    if len(c.mentions) > MENTIONS:
        yield invalid("mentions", f"must be at most {MENTIONS} users")
    for user in c.mentions:
        if why := bad_id(user):
            yield invalid("mentions", why)
    if c.attributes is not None:
        if bad_value(c.attributes):
            yield invalid("attributes", f"must not contain U+0000 or a lone surrogate, nor {VALUE_DEPTH} levels")
        elif len(msgspec.json.encode(c.attributes)) > ATTRIBUTES_BYTES:
            yield Rejection(
                "too_large",
                f"attributes: at most {ATTRIBUTES_BYTES} bytes as compact JSON",
                field="attributes",
            )
