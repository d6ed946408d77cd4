"""Settings of who is let in: tokens, web pages, operators (protocol §9, docs/adr/016)."""

import re
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

# RFC 6454 §6.2; also the schemes of browser extensions and apps
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/?#@:\[\],]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class AuthenticationSettings(BaseSettings):
    """Whom the service believes: part of `app.config.Settings`."""

    auth: Literal["dev", "jwt"] = Field(
        "jwt",
        alias="AUERBACH_AUTH",
        description="jwt: tokens only. dev: `?user=` is believed too; never in production.",
    )
    jwt_secret: str | None = Field(
        None, alias="AUERBACH_JWT_SECRET", description="Secret of HS256 tokens, at least 32 bytes."
    )
    jwt_jwks: str | None = Field(
        None,
        alias="AUERBACH_JWT_JWKS",
        description="Public keys of RS256, ES256 and EdDSA tokens: a JWKS (RFC 7517), as a file or an http(s) URL.",
    )
    jwt_jwks_refresh_s: float = Field(
        300,
        alias="AUERBACH_JWT_JWKS_REFRESH_S",
        ge=1,
        le=86_400,
        description="How often the JWKS is read again, seconds; a key that it lacks then checks no token any more.",
    )
    jwt_leeway_s: float = Field(
        5,
        alias="AUERBACH_JWT_LEEWAY_S",
        ge=0,
        le=3_600,
        description="Clock difference forgiven in exp and nbf, seconds.",
    )
    jwt_audience: str | None = Field(
        None, alias="AUERBACH_JWT_AUDIENCE", description="Required `aud` of a token, if set."
    )
    jwt_issuer: str | None = Field(None, alias="AUERBACH_JWT_ISSUER", description="Required `iss` of a token, if set.")
    origins: str = Field(
        "",
        alias="AUERBACH_ORIGINS",
        description="Web pages of other origins that may open sockets: https://chat.example.org,… or `*` for all.",
    )
    operator_token: str | None = Field(
        None,
        alias="AUERBACH_OPERATOR_TOKEN",
        description="Opens the processors' operator pages, at least 32 bytes. Unset: they are for this machine only.",
    )

    @field_validator("jwt_secret", "operator_token")
    @classmethod
    def _secret(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode("utf-8", "surrogateescape")) < 32:
            raise ValueError("must be at least 32 bytes (RFC 7518 §3.2)")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _no_key(cls, value: str | None) -> str | None:
        # PyJWT would refuse every token with it: a public key that checks HS256 is known to everybody.
        if value is not None and "-----BEGIN" in value:
            raise ValueError("must not be a key in PEM; AUERBACH_JWT_JWKS takes public keys")
        return value

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if origin not in ("*", "null") and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin: scheme://host[:port], without a slash at the end")
        return value

    @property
    def jwt_jwks_is_url(self) -> bool:
        """Whether the JWKS is fetched, not read from a file."""
        return self.jwt_jwks is not None and self.jwt_jwks.lower().startswith(("http://", "https://"))
