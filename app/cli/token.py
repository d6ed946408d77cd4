"""`python -m app token`: a JWT for one user, signed with the service's own secret (HS256)."""

import time
from collections.abc import Callable
from typing import TypedDict

import click
import jwt

from app import config
from app.config import Settings, SettingsError
from app.domain import rules

_CLIENT_TTL_S = 3600


class Credentials(TypedDict, total=False):
    """How a client of the command line says who it is: the arguments of `auerbach_client.Client`."""

    user: str
    token: Callable[[], str]


@click.command()
@click.argument("user")
@click.option(
    "--ttl", "ttl_s", type=click.IntRange(1), default=3600, show_default=True, help="Seconds that the token is valid."
)
def command(user: str, ttl_s: int) -> None:
    """Print a token for USER, signed with AUERBACH_JWT_SECRET."""
    if why := rules.bad_id(user):
        raise click.BadParameter(why, param_hint="USER")
    click.echo(mint(config.load(), user, ttl_s))


def mint(settings: Settings, user: str, ttl_s: int) -> str:
    """A token for `user` that expires in `ttl_s` seconds, for the audience and from the issuer that are set.

    Raises:
        SettingsError: there is no secret to sign with.
    """
    if settings.jwt_secret is None:
        raise SettingsError("AUERBACH_JWT_SECRET: must be set to sign tokens")
    now = int(time.time())
    claims: dict[str, str | int] = {"sub": user, "iat": now, "exp": now + ttl_s}
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")


def credentials(settings: Settings, user: str) -> Credentials:
    """A fresh token for each connection where there is a secret; else the bare id, for development mode."""
    if settings.jwt_secret is None:
        return {"user": user}
    return {"token": lambda: mint(settings, user, _CLIENT_TTL_S)}
