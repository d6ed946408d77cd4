"""Which group and which user a request for an old socket names (protocol §8)."""

import re
from urllib.parse import unquote_to_bytes

from app.domain import rules

PREFIX = "/v1/messages/"

_broken_escape = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BadAddressError(Exception):
    """It names none; the message says why, without what was sent."""


def read_address(raw_path: str, raw_query: str) -> tuple[str, str] | None:
    """The group and the user, both percent-decoded (RFC 3986 §2.1); None if nobody can be a member by such ids.

    A `+` in the path is a plus; in the query it is a space, as forms and every library write it.

    >>> read_address("/v1/messages/a%2Fb+c", "user=ann+%2B%C3%A9")
    ('a/b+c', 'ann +é')

    Raises:
        BadAddressError: the group or the user is missing or empty, or there are two users.
    """
    raw_group = raw_path.removeprefix(PREFIX)
    if not raw_group:
        raise BadAddressError("group: must be given")
    users = []
    for pair in raw_query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_to_bytes(name.encode("utf-8", "surrogateescape")) == b"user":
            users.append(value.replace("+", " "))
    if len(users) != 1:
        raise BadAddressError("user: must be given once")
    group, user = _decoded(raw_group), _decoded(users[0])
    if user is not None and not user.strip():
        raise BadAddressError("user: must not be empty")
    if group is None or user is None or rules.bad_id(group) or rules.bad_id(user):
        return None
    return group, user


def _decoded(raw: str) -> str | None:
    """None where an escape is broken, or what is escaped is not UTF-8."""
    if _broken_escape.search(raw):
        return None
    try:
        return unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        return None
