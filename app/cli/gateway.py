"""`python -m app gateway`: one gateway in this process."""

import click

from app import bootstrap, config
from app.cli.launch.claims import claimed
from app.cli.launch.parts import gateway_port, legacy_ports
from app.cli.launch.ports import one_gateways_port_faults


@click.command()
@click.option("--gateway", metavar="NAME", help="Stable name of this gateway's slot (else AUERBACH_GATEWAY).")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port to listen on (else PORT + the number in --gateway).")
def command(gateway: str | None, port: int | None) -> None:
    """Run one gateway: WebSocket, HTTP and the chat page; with AUERBACH_LEGACY=1 the replaced service's doors too.

    With --port, HTTP_PORT and GRPC_PORT are taken as they are; else they count up by the number in --gateway too.
    """
    overrides = {"gateway": gateway, "port": port}
    settings = config.load(
        config.authentication_faults,
        one_gateways_port_faults,
        **{name: value for name, value in overrides.items() if value is not None},
    )
    if port is None and gateway is not None:
        ports = {"port": gateway_port(settings, gateway)}
        ports |= {name.lower(): number for name, number in legacy_ports(settings, gateway).items()}
        settings = settings.model_copy(update=ports)
    with claimed(settings.data, settings.gateway):
        bootstrap.run_gateway(settings)
