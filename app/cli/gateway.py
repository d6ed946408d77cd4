"""`python -m app gateway`: one gateway in this process."""

import click

from app import bootstrap, config
from app.cli.launch.claims import claimed
from app.cli.launch.parts import gateway_port


@click.command()
@click.option("--gateway", metavar="NAME", help="Stable name of this gateway's slot (else AUERBACH_GATEWAY).")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on (else PORT + the number in --gateway).")
def command(gateway: str | None, port: int | None) -> None:
    """Run one gateway: WebSocket, HTTP and the chat page."""
    settings = config.load(**({"gateway": gateway} if gateway else {}))
    if port is None and gateway is not None:
        port = gateway_port(settings, gateway)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    with claimed(settings.data, settings.gateway):
        bootstrap.run_gateway(settings)
