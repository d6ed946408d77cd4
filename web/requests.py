"""Requests: from a client's text to a command or a question, or the refusal of a field (protocol §2, §9)."""

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec

from app.domain import rules
from app.domain.commands import COMMANDS, Command
from app.domain.outcomes import Rejection
from app.reads import PAGE_MEMBERS, place_of
from web.frames import RequestId
from web.json_text import NO_TEXT, NotAnObjectError, read_object

BATCH_GROUPS = 100
HISTORY_LIMIT = 200
LOG_CHARS = 64  # no log's name is longer; what a client sends beyond is cut, and names none just the same
WHY_CHARS = 200

# Both stand at the end of msgspec's message, behind whatever of the client's it repeats.
_path = re.compile(r" - at `\$\.((\w+)[^`]*)`$")
_missing_field = re.compile(r"^Object missing required field `(\w+)`$")


class MalformedError(Exception):
    """A frame that is no request: not JSON, not an object, without a `type`. Three in a row close (4400)."""


@dataclass(slots=True, frozen=True)
class Request:
    """A frame that is a request. `refusal`: it is answered with that, whatever its type."""

    id: RequestId
    type: str
    fields: dict[str, Any]
    refusal: Rejection | None = None


class Ping(msgspec.Struct, frozen=True):
    """A sign of life, both ways."""


class Auth(msgspec.Struct, frozen=True):
    """A token: the first, or a fresh one."""

    token: str


class Subscribe(msgspec.Struct, frozen=True, kw_only=True):
    """Follow one group: from a seq on, with the last few events, or from now on."""

    group: str
    after: int | None = None
    last: int | None = None
    log: str | None = None
    state: bool = True


class SubscribeMany(msgspec.Struct, frozen=True):
    """Follow several groups with one request; an entry may be refused alone."""

    items: tuple[Subscribe | tuple[str, Rejection], ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """Follow a group no longer."""

    group: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of messages; the bounds are exclusive."""

    group: str
    before: int | None = None
    after: int | None = None
    limit: int = 50


class State(msgspec.Struct, frozen=True):
    """The group's state now, or as it was at `at_seq`."""

    group: str
    at_seq: int | None = None


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the members, from an earlier page's `cursor` on."""

    group: str
    limit: int = PAGE_MEMBERS
    cursor: str | None = None


class WhoIsOnline(msgspec.Struct, frozen=True):
    """Those who are online in the group now."""

    group: str


Question = History | State | Members | WhoIsOnline
Ask = Ping | Auth | Subscribe | SubscribeMany | Unsubscribe | Question

_asks: dict[str, type[Any]] = {
    "ping": Ping,
    "auth": Auth,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "history": History,
    "state": State,
    "members": Members,
    "presence": WhoIsOnline,
}
TYPES = frozenset({*COMMANDS, *_asks})
_OURS = frozenset({"id", "by", "origin"})  # of a command: never a client's
_known = {kind: frozenset(of.__struct_fields__) - _OURS for kind, of in (COMMANDS | _asks).items()}
_known["subscribe"] |= {"groups"}


class _Id(msgspec.Struct):
    id: msgspec.Raw


_id = msgspec.json.Decoder(_Id)


def parse(text: str) -> Request:
    """The request that `text` is.

    A field with null counts as absent: clients in many languages write their optional values so.

    Raises:
        MalformedError: it is none.
    """
    try:
        fields, faults = read_object(text)
    except NotAnObjectError:
        raise MalformedError("not a JSON object") from None
    kind = fields.get("type")
    if kind is None and "type" not in faults:
        raise MalformedError("no type")
    request_id = fields.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, int | float | str):
        return Request(None, str(kind), {}, rules.invalid("id", faults.get("id", "must be a number or a string")))
    if isinstance(request_id, float):
        request_id = _as_written(text, request_id)
    if not isinstance(kind, str) or kind not in TYPES:
        return Request(request_id, str(kind), {}, rules.invalid("type", faults.get("type", "is not known here")))
    for field, why in faults.items():
        # What a double cannot hold and what is too deep is ignored where it is not looked at; such a text nowhere.
        if why == NO_TEXT or field in _known[kind]:
            return Request(request_id, kind, {}, rules.invalid(_printable(field), why))
    del fields["id"], fields["type"]
    return Request(request_id, kind, {name: value for name, value in fields.items() if value is not None})


def _as_written(text: str, request_id: float) -> RequestId:
    """The id in the client's own spelling (`1e3`): not every language has just our doubles."""
    try:
        return _id.decode(text).id.copy()  # not a view of the whole text, which may be long
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return request_id  # its value at least


def to_command(request: Request, *, command_id: str, user: str, origin: str) -> Command | Rejection:
    """The command of a changing request, or the field that keeps it from being one."""
    fields = {**request.fields, "type": request.type, "id": command_id, "by": user, "origin": origin}
    if request.type == "create_group":
        if "group" not in fields:
            fields["group"] = _derived_group(user, fields.get("client_msg_id"))
        if isinstance(fields.get("members"), list):
            fields["members"] = [_given(member) for member in fields["members"]]
    command = _convert(fields, COMMANDS[request.type])
    if isinstance(command, Rejection):
        return command
    assert isinstance(command, Command)
    return rules.check(command) or command


def to_ask(request: Request) -> Ask | Rejection:
    """The question of a request that changes nothing, or the field that keeps it from being one."""
    fields = request.fields
    if request.type == "subscribe" and "groups" in fields:
        return _batch(fields)
    ask = _convert(fields, _asks[request.type])
    if isinstance(ask, Rejection):
        return ask
    return _check(ask) or ask


def _batch(fields: dict[str, Any]) -> SubscribeMany | Rejection:
    groups = fields["groups"]
    if "group" in fields:
        return rules.invalid("groups", "must not stand beside group")
    if not isinstance(groups, list) or len(groups) > BATCH_GROUPS:
        return rules.invalid("groups", f"must be a list of at most {BATCH_GROUPS}")
    items: list[Subscribe | tuple[str, Rejection]] = []
    for item in groups:
        if not isinstance(item, dict) or not isinstance(item.get("group"), str):
            return rules.invalid("groups", "each must be an object with a group")
        ask = _convert({**_given(item), "state": False}, Subscribe)
        refusal = ask if isinstance(ask, Rejection) else _check(ask)
        items.append((item["group"], refusal) if refusal is not None else ask)
    if len({item["group"] for item in groups}) < len(groups):
        return rules.invalid("groups", "must not name a group twice")
    return SubscribeMany(tuple(items))


def _check(ask: Any) -> Rejection | None:
    group = getattr(ask, "group", None)
    if group is not None and (why := rules.bad_id(group)):
        return rules.invalid("group", why)
    for name in ("after", "before", "last", "at_seq"):
        seq = getattr(ask, name, None)
        if seq is not None and not 0 <= seq < rules.SEQ_LIMIT:
            return rules.invalid(name, "must be an integer from 0 below 2^53")
    match ask:
        case Subscribe(after=int(), last=int()):
            return rules.invalid("last", "must not stand beside after")
        case History(before=int(), after=int()):
            return rules.invalid("before", "must not stand beside after")
        case History() if not 1 <= ask.limit <= HISTORY_LIMIT:
            return rules.invalid("limit", f"must be 1 to {HISTORY_LIMIT}")
        case Members() if not 1 <= ask.limit <= PAGE_MEMBERS:
            return rules.invalid("limit", f"must be 1 to {PAGE_MEMBERS}")
        case Members(cursor=str(cursor)) if place_of(cursor) is None:
            return rules.invalid("cursor", "must be one that an answer gave")
    return None


def _convert(fields: dict[str, Any], to: type[Any]) -> Any:
    """`fields` as a `to`, or the refusal of the first field of a wrong shape."""
    try:
        return msgspec.convert(fields, to)
    except msgspec.ValidationError as wrong:
        message = str(wrong)
        if missing := _missing_field.search(message):
            return rules.invalid(missing.group(1), "is required")
        path = _path.search(message)
        if path is None:  # the whole is no object, which cannot be
            return rules.invalid("type", message[:WHY_CHARS])
        why = f"{path.group(1)}: {message[: min(path.start(), WHY_CHARS)]}"
        return Rejection("invalid", why, field=path.group(2))


def _given(item: Any) -> Any:
    """An object of a list without its nulls, which count as absent there, too."""
    return {name: value for name, value in item.items() if value is not None} if isinstance(item, dict) else item


def _derived_group(user: str, client_msg_id: Any) -> str:
    """The id of a group made without one: from the request's key, so that its repetition names the same group."""
    if not isinstance(client_msg_id, str):
        return uuid.uuid4().hex
    # NUL stands in neither part, so two pairs never read the same.
    return hashlib.blake2b(f"{user}\0{client_msg_id}".encode(), digest_size=16).hexdigest()


def _printable(field: str) -> str:
    """A field's name that can itself be sent: what is refused as a value is refused as a name."""
    return "".join("?" if rules.bad_value(c) else c for c in field)
