"""`python -m app settings`: every setting, from the model itself."""

import os
from collections.abc import Iterator
from typing import Any

import click
from pydantic.fields import FieldInfo

from app import config
from app.amqp_address import parts_of

# AMQP_URL holds a password.
_SECRETS = ("SECRET", "PASSWORD", "TOKEN", "AMQP_URL")


@click.command()
def command() -> None:
    """Every setting: its name in the environment, its value, where that comes from, and its meaning."""
    settings = config.load()
    for line in describe(settings):
        click.echo(line)


def describe(settings: config.Settings) -> Iterator[str]:
    """Two lines a setting: `NAME = value  (environment | AMQP_URL | default)` and its meaning."""
    said = parts_of(settings.amqp_url) if settings.amqp_url is not None else ""
    for name, field in type(settings).model_fields.items():
        alias = str(field.alias)
        value = _shown(alias, getattr(settings, name))
        default = _shown(alias, field.default)
        given = "AMQP_URL" if name in said else "environment" if alias in os.environ else None
        source = "default" if given is None else f"{given}; default {default}"
        yield f"{click.style(alias, bold=True)} = {value}  ({source})"
        yield f"    {field.description}{_bounds(field)}"


def _shown(alias: str, value: Any) -> str:
    if value is None:
        return "unset"
    return "********" if alias.endswith(_SECRETS) else str(value)


def _bounds(field: FieldInfo) -> str:
    """The least and greatest value, where the model has them."""
    limits = {limit: getattr(each, limit) for each in field.metadata for limit in ("ge", "le") if hasattr(each, limit)}
    match limits:
        case {"ge": least, "le": most}:
            return f" From {least} to {most}."
        case {"ge": least}:
            return f" At least {least}."
    return ""
