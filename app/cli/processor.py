"""`python -m app processor`: one Faust worker in this process."""

import click

from app import bootstrap, config
from app.cli.launch.claims import claimed


@click.command()
@click.option("--worker", metavar="NAME", help="Stable name of this worker's slot (else AUERBACH_WORKER).")
def command(worker: str | None) -> None:
    """Run one processor: it decides commands and owns partitions."""
    settings = config.load(**({"worker": worker} if worker else {}))
    with claimed(settings.data, settings.worker):
        bootstrap.run_processor(settings)
