"""`python -m app topics`: make and check the topics (design §3)."""

import asyncio

import click

from app import bootstrap, config
from app.cli.launch.broker import Broker, wait_ready
from app.kafka import topics

BROKER_S = 10


@click.group()
def command() -> None:
    """Make or check the topics."""


@command.command()
def create() -> None:
    """Make the topics that are missing; those that exist stay as they are."""
    settings = reachable()
    made, layout = bootstrap.make_topics(settings)
    for name in made:
        click.echo(f"made {name}")
    _tell(settings.bootstrap, layout)


@command.command()
def check() -> None:
    """Check that every topic is there, with equal partition counts and the right policy."""
    settings = reachable()
    _tell(settings.bootstrap, topics.check(settings.bootstrap, settings.app_id, settings.partitions_given))


def reachable() -> config.Settings:
    """The settings, once their broker answers: librdkafka would fill the screen with refused connections."""
    settings = config.load()
    asyncio.run(wait_ready(Broker(settings.bootstrap, "an existing broker", ready_s=BROKER_S)))
    return settings


def _tell(bootstrap_servers: str, layout: topics.Layout) -> None:
    click.echo(f"{bootstrap_servers}: all topics are there, {layout.partitions} partitions each, log {layout.log_id}")
