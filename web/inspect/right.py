"""Who may look: whoever has the operators' token; without one configured, this machine alone.

A browser cannot send a token in a header, so the login form changes it for a cookie: an instant of expiry under a MAC
of the token, which every worker with the same token believes and which ends with it.
"""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

COOKIE = "auerbach_operator"
COOKIE_S = 12 * 3600

# A proxy on this machine makes everybody a local peer.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@dataclass(frozen=True, slots=True)
class Denied:
    """Why somebody may not look: 401 where a token would help, 403 where nothing does."""

    status: Literal[401, 403]
    code: Literal["unauthorized", "forbidden"]
    message: str


class Right:
    """Judges requests by the token of the settings, or by where they come from if there is none."""

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token is not None else None

    @property
    def by_token(self) -> bool:
        """Whether a token opens the pages."""
        return self._token is not None

    def judge(self, *, peer: str | None, headers: Mapping[str, str], cookie: str | None) -> Denied | None:
        """None if the request with these may be answered. `peer` is the address at the other end."""
        if self._token is None:
            return _judge_place(peer, headers)
        header = headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            allowed = scheme.lower() == "bearer" and self.is_token(token.strip())
        else:
            allowed = cookie is not None and self._is_cookie(cookie)
        return None if allowed else Denied(401, "unauthorized", "the operators' token is needed")

    def is_token(self, token: str) -> bool:
        """Whether it is the operators' token; takes as long for a wrong one, however it is wrong."""
        return self._token is not None and hmac.compare_digest(
            hashlib.sha256(token.encode("utf-8", "backslashreplace")).digest(), hashlib.sha256(self._token).digest()
        )

    def cookie(self) -> str:
        """A cookie's value for whoever has shown the token, good for `COOKIE_S`."""
        expires = str(int(time.time()) + COOKIE_S)
        return f"{expires}.{self._mac(expires)}"

    def _is_cookie(self, cookie: str) -> bool:
        expires, _, mac = cookie.partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and mac.isascii()):
            return False
        return hmac.compare_digest(mac, self._mac(expires)) and int(expires) > time.time()

    def _mac(self, expires: str) -> str:
        assert self._token is not None
        return hmac.new(self._token, b"auerbach inspect until " + expires.encode(), hashlib.sha256).hexdigest()


def _judge_place(peer: str | None, headers: Mapping[str, str]) -> Denied | None:
    """Without a token: a peer on this machine, that means this machine.

    A page of the internet whose name resolves to 127.0.0.1 (DNS rebinding) has the peer right and the Host wrong.
    """
    if any(name in headers for name in _FORWARDED):
        return Denied(403, "forbidden", "without AUERBACH_OPERATOR_TOKEN nothing is served through a proxy")
    if peer is None or not _is_loopback(peer) or not _names_loopback(headers.get("Host", "")):
        return Denied(403, "forbidden", "without AUERBACH_OPERATOR_TOKEN these pages are for the machine's own users")
    return None


def _names_loopback(host: str) -> bool:
    name = host.lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    return name == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback
