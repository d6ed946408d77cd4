"""Which web pages may open a socket: those of this gateway's own origin, and those that a setting names (RFC 6454).

A browser tells where a page comes from; who is no browser sends no Origin, and has no user's trust to misuse.
"""

import ipaddress
import re
from collections.abc import Sequence

_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_authority = re.compile(r"(?P<host>[^:\[\]@/?#\s]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]*))?")


class Origins:
    """The allow-list: `allowed` is the setting's value.

    `names_believed`: development mode, where whoever reaches the door is whoever they say. A page that had its own name
    resolved to this machine (DNS rebinding) would be of the same origin, so only addresses and `localhost` are then.
    """

    def __init__(self, allowed: str, *, names_believed: bool) -> None:
        self._allowed = {_canonical(origin) for origin in map(str.strip, allowed.split(",")) if origin}
        self._names_believed = names_believed

    def allow(self, origins: Sequence[str], host: str) -> bool:
        """Whether a request with these headers `Origin`, asked of `host` (the header), may open a socket."""
        if not origins or "*" in self._allowed:
            return True
        if len(origins) > 1:
            return False
        return _canonical(origins[0]) in self._allowed or self._is_own(origins[0], host.lower())

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, _, authority = origin.lower().partition("://")
        asked, page = _authority.fullmatch(host), _authority.fullmatch(authority)
        if asked is None or page is None or scheme not in _PORTS or asked["host"] != page["host"]:
            return False
        # Behind a proxy that ends TLS the scheme is the page's alone.
        default = _PORTS[scheme]
        same = (asked["port"] or default) == (page["port"] or default)
        return same and (not self._names_believed or _is_local_name(asked["host"]))


def _canonical(origin: str) -> str:
    """An origin as browsers write it: in lower case, without the scheme's own port."""
    origin = origin.lower()
    scheme, _, _ = origin.partition("://")
    return origin.removesuffix(f":{_PORTS[scheme]}") if scheme in _PORTS else origin


def _is_local_name(host: str) -> bool:
    """Whether nobody else can have `host` resolved to an address of their choice."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
