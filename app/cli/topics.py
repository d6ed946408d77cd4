"""`python -m app topics`: make and check the topics (design §3)."""

import click

from app import bootstrap, config
from app.kafka import topics


@click.group()
def command() -> None:
    """Make or check the topics."""


@command.command()
def create() -> None:
    """Make the topics that are missing; those that exist stay as they are."""
    settings = config.load()
    made, layout = bootstrap.make_topics(settings)
    for name in made:
        click.echo(f"made {name}")
    _tell(settings.bootstrap, layout)


@command.command()
def check() -> None:
    """Check that every topic is there, with equal partition counts and the right policy."""
    settings = config.load()
    _tell(settings.bootstrap, topics.check(settings.bootstrap, settings.app_id))


def _tell(bootstrap_servers: str, layout: topics.Layout) -> None:
    click.echo(f"{bootstrap_servers}: all topics are there, {layout.partitions} partitions each, log {layout.log_id}")
