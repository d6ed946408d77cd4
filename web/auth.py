"""Who is at the door: tokens, and in development mode a name (protocol §1, §9)."""

from dataclasses import dataclass
from typing import Any

import jwt

from app.config import Settings
from app.domain import rules

ALGORITHMS = ["HS256"]  # an allow-list: a token never chooses how it is checked


@dataclass(slots=True, frozen=True)
class Identity:
    """A user, and the instant (seconds since 1970, leeway included) from which the proof no longer holds."""

    user: str
    expires_at: float | None = None


@dataclass(slots=True, frozen=True)
class Refused:
    """Why nobody was recognised. `expired`: a new token of the same user would do."""

    message: str
    expired: bool = False


class Authenticator:
    """Checks tokens with the secret of the settings; believes a bare name in development mode only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def handshake(self, authorization: str | None, user: str | None) -> Identity | Refused | None:
        """Who opens a socket with these: the header `Authorization`, the query's `user`. None: not said yet."""
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                return Refused("the Authorization header must be `Bearer <token>`")
            return self.token(token.strip())
        if user is None:
            return None
        if self._settings.auth != "dev":
            return Refused("`?user=` is for development mode only; bring a token")
        if why := rules.bad_id(user):
            return Refused(f"user: {why}")
        return Identity(user)

    def token(self, token: str) -> Identity | Refused:
        """Whose token this is."""
        settings = self._settings
        if settings.jwt_secret is None:
            return Refused("tokens are not configured here")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                settings.jwt_secret,
                algorithms=ALGORITHMS,
                leeway=settings.jwt_leeway_s,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": settings.jwt_audience is not None,
                    "verify_iss": settings.jwt_issuer is not None,
                    # The protocol's claims are exp, nbf, aud and iss; a clock that is fast at the issuer is no fault.
                    "verify_iat": False,
                    "verify_jti": False,
                },
            )
            expires_at = int(claims["exp"]) + settings.jwt_leeway_s
        except jwt.ExpiredSignatureError:
            return Refused("the token has expired", expired=True)
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            return Refused("the token is not valid here")
        user = claims["sub"]
        if not isinstance(user, str) or rules.bad_id(user):
            return Refused("the token's sub is not a user id")
        return Identity(user, expires_at)
