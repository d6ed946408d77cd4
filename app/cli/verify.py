"""`python -m app verify`: prove the log, and what was derived from it (docs/adr/019)."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from tqdm import tqdm

from app.cli.topics import reachable
from app.cli.verifying import acks, pool, telling
from app.cli.verifying.acks import AcksError
from app.cli.verifying.findings import Report
from app.cli.verifying.partition_check import Job
from app.config import Settings
from app.kafka import consumer, topics
from app.kafka.consumer import ReadError


class _CannotError(click.ClickException):
    """It could not be verified: nothing is said of the log."""

    exit_code = 2


@click.command()
@click.option(
    "--acks",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='A client\'s log of acknowledgements, JSON Lines: {"group","user","client_msg_id","seq"}; repeatable.',
)
@click.option("--tables/--no-tables", default=True, show_default=True, help="Compare the tables' changelogs.")
@click.option(
    "--owners/--no-owners", default=True, show_default=True, help="Ask the owners; one who is away is a finding."
)
@click.option(
    "--owners-within",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds in which an owner must answer, or come back.",
)
@click.option("--processes", type=click.IntRange(1), help="Partitions read side by side, else one a core.")
@click.option("--scratch", type=click.Path(file_okay=False, path_type=Path), help="Folder for temporary files.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    files: tuple[Path, ...],
    tables: bool,
    owners: bool,
    owners_within: float,
    processes: int | None,
    scratch: Path | None,
    as_json: bool,
) -> None:
    """Read the whole events topic as every reader must, and report each thing in it that must not be.

    Gaps, doubled seqs and ids, `at` going back, what does not decode or contradicts itself; tables and owners that
    differ from the fold of the log; acknowledgements that are not in it. The service may run meanwhile, or be down
    (`--no-owners`). Exit code 0: clean. 1: a finding. 2: it could not be done.
    """
    settings = reachable()
    layout = topics.check(settings.bootstrap, settings.app_id, settings.partitions_given)
    with tempfile.TemporaryDirectory(prefix="auerbach-verify-", dir=scratch) as folder:
        try:
            # The acknowledgements first: each must be in the log by its end, which is taken then.
            due = acks.sort(files, layout.partitions, Path(folder))
            jobs = [
                Job(
                    bootstrap=settings.bootstrap,
                    app_id=settings.app_id,
                    layout=layout,
                    partition=partition,
                    end=end,
                    scratch=Path(folder),
                    acks=due.paths.get(partition),
                    tables=tables,
                    owners_within_s=owners_within if owners else None,
                )
                for partition, end in enumerate(_ends(settings, layout))
            ]
            reports = _run(jobs, processes)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except (AcksError, ReadError) as failed:
            raise _CannotError(str(failed)) from None
    verdict = telling.Verdict(layout.log_id, reports, tuple(str(file) for file in due.cut))
    for line in [verdict.as_json()] if as_json else verdict.lines():
        click.echo(line)
    if not verdict.clean:
        raise SystemExit(1)


def _ends(settings: Settings, layout: topics.Layout) -> list[int]:
    with consumer.reader(settings.bootstrap) as reader:
        return [consumer.offsets(reader, topics.EVENTS, partition)[1] for partition in range(layout.partitions)]


def _run(jobs: Sequence[Job], processes: int | None) -> list[Report]:
    reports = []
    total = sum(job.end for job in jobs)
    with tqdm(total=total, unit=" records", unit_scale=True, disable=None) as bar:
        for seen in pool.run(jobs, processes):
            if isinstance(seen, Report):
                reports.append(seen)
                total -= seen.first  # what is not kept is not read
                bar.total = total
                bar.set_postfix_str(f"{len(reports)} of {len(jobs)} partitions")
            else:
                bar.update(seen - bar.n)
    return sorted(reports, key=lambda report: report.partition)
