"""`python -m app up`: the whole service on one machine, as `make run` starts it."""

import click

from app import config
from app.cli.launch import alone, service
from app.cli.launch.ports import port_faults


@click.command()
@click.option("--no-restart", is_flag=True, help="Leave a process that died dead.")
@click.option(
    "--only",
    metavar="NAME",
    help="Become one process (kafka, processor-N, gateway-N, bridge-N) with the same settings, pid and log files.",
)
def command(no_restart: bool, only: str | None) -> None:
    """Run everything: broker, topics, processors, gateways, and a bridge where there is a RabbitMQ.

    Processes that die are started again. Ctrl-C stops all of them, a second one at once. Pids are in DATA/run, logs in
    DATA/log.
    """
    # One process checks what it needs of them itself.
    checks = (config.authentication_faults, port_faults) if only is None else ()
    settings = config.load(*checks)
    # Absolute, so that every process means the same folder wherever it is started from.
    settings = settings.model_copy(update={"data": settings.data.absolute()})
    if only is not None:
        alone.become(settings, only, _say)
    service.up(settings, restart=not no_restart, say=_say)


def _say(line: str) -> None:
    click.echo(line)
