"""Frames that a hostile or careless client may send, and a second, naive reading of the protocol to hold ours against.

`frame(dice)` makes one from a seeded random source: a request of a known type whose fields are drawn from good and
bad values alike, and sometimes cut or spoilt as a text. `read` shares no code with the gateway: Python's own json, and
the sentences of the protocol (§2, §9) one by one. It knows the requests of groups and messages.
"""

import json
import math
import unicodedata
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn

DEPTH = 64  # the deepest value that is looked at, the request's own level included

IDS = ["7", "-1", "0", "1.5", "1e3", "123456789012345678901234567890", '""', '"x"', '"é\\u0301"', '"7"']
BAD_IDS = ["null", "true", "[1]", "{}", '"\\ud800"', '"\\u0000"', "1e400", "9" * 400]
NUMBERS = ["0", "1", "-1", "-0", "1.0", "1.5", "1e3", "9007199254740991", "9007199254740992", "1" * 30, "1e400", "200"]
TEXTS = [
    "",
    ".",
    "..",
    " a",
    "a ",
    "\\u00a0a",
    "a\\u3000",
    "\\u0085",
    "a\\u007fb",
    "a\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
]
TEXTS += [
    "\\ud83d\\ude00",
    "é",
    "e\\u0301",
    "a/b%20c",
    "\\u202eabc",
    "\\ufeffa",
    "\\u200b",
    "\\u2028",
    "\\\\u0000",
    "5",
]
TEXTS += ["a" * 64, "a" * 65, "é" * 64, "é" * 65, "a" * 257, "a" * 1_025, "a" * 16_384, "a" * 16_385, "open", "owner"]
NESTED = ["[" * n + "]" * n for n in (3, 62, 63, 64, 300)] + ['{"a":' * n + "1" + "}" * n for n in (62, 63, 64)]
LISTS = ["[]", "{}", "[null]", '["bob"]', '[{"user":"bob"}]', '[{"user":"bob","role":"god"}]', '[{"role":"member"}]']
LISTS += ["[" + ",".join(f'"u{n}"' for n in range(count)) + "]" for count in (100, 101)]
LISTS += [
    '{"a":"\\udfff"}',
    '{"\\u0000":1}',
    '{"a":"' + "x" * 4_088 + '"}',
    '{"a":"' + "x" * 4_089 + '"}',
    '{"a":1e999}',
]
NO_JSON = [
    "NaN",
    "-Infinity",
    "undefined",
    "01",
    "1.",
    ".5",
    "+1",
    '"\\x"',
    '"',
    "'a'",
    '"a\nb"',
    "[1,]",
    '{"a":1,}',
    "",
]

GOOD: dict[str, dict[str, str]] = {
    "ping": {},
    "create_group": {"group": '"g"', "name": '"G"', "topic": '"t"', "join": '"open"', "members": '[{"user":"bob"}]'},
    "update_group": {"group": '"g"', "name": '"H"', "history": '"joined"'},
    "delete_group": {"group": '"gone"'},
    "join": {"group": '"g"'},
    "leave": {"group": '"none"'},
    "add_member": {"group": '"g"', "user": '"carol"', "role": '"reader"'},
    "remove_member": {"group": '"g"', "user": '"carol"', "ban": "true"},
    "unban": {"group": '"g"', "user": '"carol"'},
    "set_role": {"group": '"g"', "user": '"bob"', "role": '"admin"'},
    "send": {"group": '"g"', "text": '"hi"', "client_msg_id": '"c"', "reply_to": "2", "mentions": '["bob"]',
             "attributes": '{"a":1}'},
    "edit": {"group": '"g"', "seq": "2", "text": '"hi"'},
    "delete": {"group": '"g"', "seq": "9"},
    "react": {"group": '"g"', "seq": "2", "emoji": '"+"'},
    "unreact": {"group": '"g"', "seq": "2", "emoji": '"+"'},
    "subscribe": {"group": '"g"', "after": "0", "log": '"x"', "state": "false"},
    "unsubscribe": {"group": '"g"'},
    "history": {"group": '"g"', "before": "9", "limit": "3"},
    "state": {"group": '"g"', "at_seq": "1"},
    "presence": {"group": '"g"'},
    "members": {"group": '"g"', "limit": "2", "cursor": '"1.0"'},
    "nonsense": {"group": '"g"'},
}  # fmt: skip


def frame(dice: Random, request_id: str | None = None) -> str:
    """One frame; `request_id` is the JSON of its id, one of many (also bad ones) if None."""
    kind = dice.choice(list(GOOD))
    fields = {"type": json.dumps(kind), **GOOD[kind]}
    for name in list(fields):
        if dice.random() < 0.15:
            fields[name] = dice.choice(NUMBERS) if fields[name].isdigit() and dice.random() < 0.7 else _any(dice)
        elif dice.random() < 0.05:
            del fields[name]
    fields["id"] = request_id or dice.choice(IDS + BAD_IDS * (dice.random() < 0.2))
    if dice.random() < 0.2:
        fields[dice.choice(["x", "by", "origin", "last", "groups", "client_msg_id", "\\ud800"])] = _any(dice)
    pairs = [f'"{name}":{value}' for name, value in fields.items()]
    dice.shuffle(pairs)
    if dice.random() < 0.05:
        pairs.append(dice.choice(pairs))  # a name that comes twice
    text = "{" + ",".join(pairs) + "}"
    return _spoilt(text, dice) if request_id is None and dice.random() < 0.15 else text


def _any(dice: Random) -> str:
    pool = dice.choice([NUMBERS, TEXTS, NESTED, LISTS, ["true", "null"], NO_JSON if dice.random() < 0.2 else TEXTS])
    return f'"{dice.choice(pool)}"' if pool is TEXTS else dice.choice(pool)


def _spoilt(text: str, dice: Random) -> str:
    at, to = sorted((dice.randrange(len(text)), dice.randrange(len(text))))
    noise = "".join(dice.choice('[]{}",:\\ \n0-e\u0000\ufeff🎉') for _ in range(dice.randrange(4)))
    return dice.choice(
        [text[:at], text[at:], text[:at] + noise + text[at:], text[:at] + noise + text[to:], noise + text]
    )


@dataclass(frozen=True)
class Reading:
    """What becomes of a frame. `id`: what the reply carries. `good`: whether the fields are fine, None where unsaid."""

    malformed: bool = False
    id: Any = None
    good: bool | None = None


def read(text: str, types: frozenset[str]) -> Reading | None:
    """What the protocol says of `text`; None where a value is too deep to be looked into, and may hold anything.

    `types` are the requests that are known.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=lambda digits: int(digits[:400]))
    except ValueError:
        return Reading(malformed=True) if text.count("[") + text.count("{") <= DEPTH else None
    if not isinstance(value, dict) or value.get("type") is None:
        return Reading(malformed=True)
    request_id, kind = value.get("id"), value["type"]
    if isinstance(request_id, bool) or not isinstance(request_id, int | float | str) or not _possible(request_id):
        return Reading(id=None, good=False)
    if not isinstance(kind, str) or kind not in types or any(not _text_possible([k, v]) for k, v in value.items()):
        return Reading(id=request_id, good=False)
    fields = {name: item for name, item in value.items() if item is not None and name in _FIELDS[kind]}
    if not all(_possible(item) and _depth(item) < DEPTH for item in fields.values()):
        return Reading(id=request_id, good=False)
    return Reading(id=request_id, good=_fine(kind, fields))


_FIELDS: dict[str, dict[str, Any]] = {}


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for pair in value.items() for item in pair for leaf in _leaves(item)]
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


def _text_possible(value: Any) -> bool:
    leaves = (leaf for leaf in _leaves(value) if isinstance(leaf, str))
    return not any(c == "\0" or unicodedata.category(c) == "Cs" for leaf in leaves for c in leaf)


def _possible(value: Any) -> bool:
    """Whether it holds only text that can be sent and numbers that a double holds."""
    numbers = (leaf for leaf in _leaves(value) if isinstance(leaf, int | float))
    return _text_possible(value) and all(abs(n) < 2**1024 and not math.isinf(n) for n in numbers)


def _bytes(value: Any, low: int, high: int) -> bool:
    return isinstance(value, str) and low <= len(value.encode()) <= high


def _id(value: Any) -> bool:
    if not _bytes(value, 1, 128) or value in {".", ".."}:
        return False
    ends = unicodedata.category(value[0])[0], unicodedata.category(value[-1])[0]
    return "Z" not in ends and all(unicodedata.category(c) != "Cc" for c in value)


def _seq(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _one_of(*words: str) -> Any:
    return lambda value: isinstance(value, str) and value in words


def _list_of(fine: Any, most: int = 10**6) -> Any:
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(fine, value))


def _count(most: int) -> Any:
    return lambda value: type(value) is int and 1 <= value <= most


def _member(value: Any) -> bool:
    role = value.get("role") if isinstance(value, dict) else None
    return isinstance(value, dict) and _id(value.get("user")) and role in {None, "reader", "member", "admin"}


def _attributes(value: Any) -> bool:
    return (
        isinstance(value, dict) and len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) <= 4_096
    )


def _entry(value: Any) -> bool:
    # What else is wrong with an entry is told in its result.
    return isinstance(value, dict) and isinstance(value.get("group"), str)


_ROLE = _one_of("reader", "member", "admin", "owner")
_KEY = {"client_msg_id": lambda value: _bytes(value, 1, 64)}
_GROUP: dict[str, Any] = {"group": _id}
_FLAG = lambda value: isinstance(value, bool)  # noqa: E731
_SETTINGS = {
    "name": lambda value: _bytes(value, 1, 256),
    "topic": lambda value: _bytes(value, 0, 1_024),
    "join": _one_of("open", "invite"),
    "history": _one_of("all", "joined"),
}
_TEXT = {"text": lambda value: _bytes(value, 1, 16_384)}
_EMOJI = {"seq": _seq, "emoji": lambda value: _bytes(value, 1, 64)}
_FIELDS |= {
    "ping": {},
    "create_group": _GROUP | _KEY | _SETTINGS | {"members": _list_of(_member)},
    "update_group": _GROUP | _KEY | _SETTINGS,
    **dict.fromkeys(("delete_group", "join", "leave"), _GROUP | _KEY),
    "add_member": _GROUP | _KEY | {"user": _id, "role": _one_of("reader", "member", "admin")},
    "remove_member": _GROUP | _KEY | {"user": lambda value: _id(value) and value != "alice", "ban": _FLAG},
    "unban": _GROUP | _KEY | {"user": _id},
    "set_role": _GROUP | _KEY | {"user": _id, "role": _ROLE},
    "send": _GROUP | _KEY | _TEXT | {"reply_to": _seq, "mentions": _list_of(_id, 100), "attributes": _attributes},
    "edit": _GROUP | _KEY | _TEXT | {"seq": _seq},
    "delete": _GROUP | _KEY | {"seq": _seq},
    "react": _GROUP | _KEY | _EMOJI,
    "unreact": _GROUP | _KEY | _EMOJI,
    "subscribe": _GROUP
    | {"after": _seq, "last": _seq, "log": lambda v: isinstance(v, str), "state": _FLAG, "groups": None},
    "unsubscribe": _GROUP,
    "history": _GROUP | {"before": _seq, "after": _seq, "limit": _count(200)},
    "state": _GROUP | {"at_seq": _seq},
    "presence": _GROUP,
    "members": _GROUP | {"limit": _count(1_000), "cursor": lambda value: value == "1.0"},
}
_OPTIONAL = {
    "topic",
    "join",
    "history",
    "members",
    "role",
    "ban",
    "reply_to",
    "mentions",
    "attributes",
    "cursor",
    "limit",
}
_OPTIONAL |= {"after", "last", "before", "log", "state", "at_seq"}


def _fine(kind: str, fields: dict[str, Any]) -> bool:
    if "groups" in fields:
        groups = fields["groups"]
        if "group" in fields or not _list_of(_entry, 100)(groups):
            return False
        return len({each["group"] for each in groups}) == len(groups)
    due = set(_FIELDS[kind]) - _OPTIONAL - {"groups"}
    due |= {"role"} if kind == "set_role" else set()
    due -= {"client_msg_id"} if kind != "send" else set()
    due -= {"group"} if kind == "create_group" else {"name"} if kind == "update_group" else set()
    together = {"subscribe": {"after", "last"}, "history": {"before", "after"}}.get(kind, {""})
    every = all(_FIELDS[kind][name](value) for name, value in fields.items())
    return every and due <= set(fields) and not together <= set(fields)
