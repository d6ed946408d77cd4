"""Which group and which user a request for an old socket names (protocol §8)."""

import re
from urllib.parse import unquote_to_bytes

from app.domain import rules

PREFIX = "/v1/messages/"

_broken_escape = re.compile(r"%(?![0-9A-Fa-f]{2})")


class BadAddressError(Exception):
    """It names none; the message says why, without what was sent."""


def read_address(raw_path: str, raw_query: str) -> tuple[str, str]:
    """The group and the user, both percent-decoded (RFC 3986 §2.1).

    A `+` in the path is a plus; in the query it is a space, as forms and every library write it.

    >>> read_address("/v1/messages/a%2Fb+c", "user=ann+%2B%C3%A9")
    ('a/b+c', 'ann +é')

    Raises:
        BadAddressError: an id is missing, is none, or is not UTF-8; or there are two users.
    """
    group = _decoded("group", raw_path.removeprefix(PREFIX))
    users = []
    for pair in raw_query.split("&"):
        name, _, value = pair.partition("=")
        if unquote_to_bytes(name.encode("utf-8", "surrogateescape")) == b"user":
            users.append(_decoded("user", value.replace("+", " ")))
    if len(users) != 1:
        raise BadAddressError("user: must be given once")
    for name, value in (("group", group), ("user", users[0])):
        if why := rules.bad_id(value):
            raise BadAddressError(f"{name}: {why}")
    return group, users[0]


def _decoded(name: str, raw: str) -> str:
    if _broken_escape.search(raw):
        raise BadAddressError(f"{name}: a % must be followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        raise BadAddressError(f"{name}: must be UTF-8") from None
