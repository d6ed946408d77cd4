"""Field rules: what a command may carry (protocol §2, §9). Used at every door and again by the owner."""

import re
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
    return _common(command) or _particular(command)


def _common(c: Command) -> Rejection | None:
    if why := bad_id(c.group):
        return invalid("group", why)
    if c.by is not None and (why := bad_id(c.by)):
        return invalid("by", why)
    if c.client_msg_id is not None and (why := bad_text(c.client_msg_id, 1, CLIENT_MSG_ID_BYTES)):
        return invalid("client_msg_id", why)
    return None


def _particular(c: Command) -> Rejection | None:
    match c:
        case Send():  # first, for it is what most commands are
            return _send(c)
        case CreateGroup():
            return _create(c)
        case UpdateGroup():
            return _naming(c.name, c.topic)
        case AddMember() | RemoveMember() | Unban() | SetRole():
            return _member(c)
        case Edit():
            return _seq("seq", c.seq) or _text(c.text)
        case Delete():
            return _seq("seq", c.seq)
        case React() | Unreact():
            return _seq("seq", c.seq) or _emoji(c.emoji)
        case PruneHistory():
            return _seq("through", c.through)
    return None


def _naming(name: str | None, topic: str | None) -> Rejection | None:
    if name is not None and (why := bad_text(name, 1, NAME_BYTES)):
        return invalid("name", why)
    if topic is not None and (why := bad_text(topic, 0, TOPIC_BYTES)):
        return invalid("topic", why)
    return None


def _member(c: AddMember | RemoveMember | Unban | SetRole) -> Rejection | None:
    if why := bad_id(c.user):
        return invalid("user", why)
    if isinstance(c, AddMember) and c.role == "owner":
        return invalid("role", "must not be owner: ownership is transferred")
    if isinstance(c, RemoveMember) and c.user == c.by:
        return invalid("user", "must not be oneself: one leaves")
    return None


def _seq(field: str, seq: int) -> Rejection | None:
    return None if 0 <= seq < SEQ_LIMIT else invalid(field, "must be a seq: an integer from 0 below 2^53")


def _text(text: str) -> Rejection | None:
    if size(text) > TEXT_BYTES:
        return Rejection("too_large", f"text: must be 1 to {TEXT_BYTES} bytes of UTF-8", field="text")
    why = bad_text(text, 1, TEXT_BYTES)
    return invalid("text", why) if why else None


def _emoji(emoji: str) -> Rejection | None:
    why = bad_text(emoji, 1, EMOJI_BYTES)
    return invalid("emoji", why) if why else None


def _create(c: CreateGroup) -> Rejection | None:
    if refusal := _naming(c.name, c.topic):
        return refusal
    for member in c.members:
        if why := bad_id(member.user):
            return invalid("members", why)
        if member.role == "owner" and member.user != c.by:
            return invalid("members", "must not name an owner: the creator is it")
    return None


def _send(c: Send) -> Rejection | None:
    if refusal := _text(c.text):
        return refusal
    if c.reply_to is not None and (refusal := _seq("reply_to", c.reply_to)):
        return refusal
    if len(c.mentions) > MENTIONS:
        return invalid("mentions", f"must be at most {MENTIONS} users")
    for user in c.mentions:
        if why := bad_id(user):
            return invalid("mentions", why)
    return None if c.attributes is None else _attributes(c.attributes)


def _attributes(attributes: dict[str, Any]) -> Rejection | None:
    if bad_value(attributes):
        return invalid("attributes", f"must not contain U+0000 or a lone surrogate, nor {VALUE_DEPTH} levels")
    if len(msgspec.json.encode(attributes)) > ATTRIBUTES_BYTES:
        why = f"attributes: at most {ATTRIBUTES_BYTES} bytes as compact JSON"
        return Rejection("too_large", why, field="attributes")
    return None
