"""`python -m app bridge`: one bridge to RabbitMQ in this process."""

import click

from app import bootstrap, config
from app.cli.launch.claims import claimed
from app.cli.launch.parts import bridge_port


@click.command()
@click.option("--bridge", metavar="NAME", help="Stable name of this bridge's slot (else AUERBACH_BRIDGE).")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="Port of its health and metrics (else AUERBACH_BRIDGE_PORT + the number in --bridge).",
)
def command(bridge: str | None, port: int | None) -> None:
    """Run one bridge: RabbitMQ's group updates in; events and push records out, where they are configured."""
    settings = config.load(**({"bridge": bridge} if bridge else {}))
    if port is None and bridge is not None:
        port = bridge_port(settings, bridge)
    if port is not None:
        settings = settings.model_copy(update={"bridge_port": port})
    with claimed(settings.data, settings.bridge):
        bootstrap.run_bridge(settings)
