"""Who is at the door: tokens, and in development mode a name (protocol §1, §9; docs/adr/016)."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jwt

from app.config import Settings
from app.domain import rules
from web import jwks
from web.keys import Keys
from web.revocations import Revocations

SYMMETRIC = "HS256"
FOREVER = 253_402_300_800  # the year 10000: a number of any size can be compared with a clock, but not added to

Why = Literal["invalid", "expired", "revoked", "unavailable"]


@dataclass(slots=True, frozen=True)
class Identity:
    """A user, and from when until when the proof holds, in seconds since 1970.

    `expires_at`: leeway included. `issued_at`: None if the proof does not say.
    """

    user: str
    expires_at: float = math.inf
    issued_at: float | None = None


@dataclass(slots=True, frozen=True)
class Refused:
    """Why nobody was recognised. `expired`: a new token of the same user would do; `unavailable`: ask again later."""

    message: str
    why: Why = "invalid"


class Authenticator:
    """Checks tokens with the secret and the keys of the settings; believes a bare name in development mode only.

    Every key has one algorithm: what a token says of itself picks one of them, and never says how it is used.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys | None = None,
        revocations: Revocations | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._revocations = revocations if revocations is not None else Revocations()
        self._clock = clock

    async def handshake(self, authorization: Sequence[str], users: Sequence[str] | None) -> Identity | Refused | None:
        """Who opens a socket: its headers `Authorization`, and each `user` of its query. None: not said yet.

        `users` is None where the query is not UTF-8.
        """
        if len(authorization) > 1:
            return Refused("there must be one Authorization header")
        if authorization:
            scheme, _, token = authorization[0].partition(" ")
            if scheme.lower() != "bearer":
                return Refused("the Authorization header must be `Bearer <token>`")
            return await self.token(token.strip())
        if users is not None and not users:
            return None
        if self._settings.auth != "dev":
            return Refused("`?user=` is for development mode only; bring a token")
        if users is None or len(users) > 1:
            return Refused("the query must be UTF-8, with one user")
        if why := rules.bad_id(users[0]):
            return Refused(f"user: {why}")
        return Identity(users[0], issued_at=self._clock())

    async def token(self, token: str) -> Identity | Refused:
        """Whose token this is."""
        try:
            header = jwt.get_unverified_header(token)
            checker = await self._checker(header.get("alg"), header.get("kid"))
            if isinstance(checker, Refused):
                return checker
            algorithm, key = checker
            return self._identity(jwt.decode(token, key, [algorithm], **self._due()))
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return _INVALID

    async def _checker(self, algorithm: Any, kid: Any) -> tuple[str, Any] | Refused:
        """The algorithm and the key for a token whose header says so."""
        if algorithm == SYMMETRIC and self._settings.jwt_secret is not None:
            return SYMMETRIC, self._settings.jwt_secret
        if self._keys is None or not isinstance(algorithm, str) or algorithm not in jwks.ALGORITHMS:
            return _INVALID
        key = await self._keys.find(algorithm, kid)
        if key is None:
            return _UNAVAILABLE if self._keys.present is None else _INVALID
        return algorithm, key

    def _due(self) -> dict[str, Any]:
        """What PyJWT checks besides the signature; exp and nbf are ours, which it takes as text, too."""
        audience, issuer = self._settings.jwt_audience, self._settings.jwt_issuer
        of_ours = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_jti": False}
        options = {"verify_aud": audience is not None, "verify_iss": issuer is not None, **of_ours}
        return {"audience": audience, "issuer": issuer, "options": options}

    def _identity(self, claims: dict[str, Any]) -> Identity | Refused:
        user = claims.get("sub")
        if not isinstance(user, str) or rules.bad_id(user):
            return Refused("the token's sub is not a user id")
        expires_at, not_before, issued_at = (_instant(claims, name) for name in ("exp", "nbf", "iat"))
        if expires_at is None:
            return Refused("the token has no exp")
        now, leeway_s = self._clock(), self._settings.jwt_leeway_s
        if now >= expires_at + leeway_s:
            return Refused("the token has expired", "expired")
        # iat is no such bound: a clock that is fast at the issuer is no fault.
        if not_before is not None and now < not_before - leeway_s:
            return Refused("the token does not hold yet")
        if self._revocations.refuses(user, issued_at):
            return Refused("the token was revoked", "revoked")
        return Identity(user, expires_at + leeway_s, issued_at)


_INVALID = Refused("the token is not valid here")
_UNAVAILABLE = Refused("tokens cannot be checked now", "unavailable")


def _instant(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2), held within the years that clocks know; None if it is not there.

    Raises:
        ValueError: it is no number.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(name)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(name)
    return float(max(0, min(value, FOREVER)))
