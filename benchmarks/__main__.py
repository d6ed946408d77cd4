"""`python -m benchmarks`: all benchmarks one after the other, or those that are named; `make bench`."""

import signal
import sys
from pathlib import Path

import click

from benchmarks import results, suite
from benchmarks.figures import say


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="Only say which benchmarks there are.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each, if not its own number.")
@click.option("--quick", is_flag=True, help="At sizes that show nothing but that they run; nothing is kept.")
@click.option("--strict", is_flag=True, help="Exit code 1 also where a target is missed.")
@click.option("--csv", "kept", type=click.Path(path_type=Path), help=f"Where figures are appended.  [{results.HERE}]")
@click.option("--plots", type=click.Path(path_type=Path), help="The folder of the plots.  [plots, beside the CSV]")
@click.option("--draw", is_flag=True, help="Run nothing: draw what the CSV holds.")
def main(
    names: tuple[str, ...],
    listing: bool,
    rounds: int | None,
    quick: bool,
    strict: bool,
    kept: Path | None,
    plots: Path | None,
    draw: bool,
) -> None:
    """Run benchmarks NAMES, or all; print one table, keep the figures, draw them. Exit code 1 if any failed."""
    if unknown := set(names) - set(suite.names()):
        raise click.UsageError(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(suite.names())}")
    if listing:
        click.echo("\n".join(suite.names()))
        return
    # Told to end, we end what we have started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = kept or results.HERE
    ran = [] if draw else _run(list(names) or suite.names(), rounds, quick, kept if quick else path)
    if ran:
        for line in suite.summary(ran):
            click.echo(line)
    if not quick or kept or draw:
        _draw(path, plots or path.parent / "plots")
    if any(each.fault for each in ran) or (strict and any(each.missed for each in ran)):
        sys.exit(1)


def _run(names: list[str], rounds: int | None, quick: bool, kept: Path | None) -> list[suite.Ran]:
    ran = []
    for n, name in enumerate(names, 1):
        say(f"{name} ({n} of {len(names)})")
        try:
            options = suite.arguments(name, rounds, quick)
        except ValueError as left_out:
            say(f"left out: {left_out}")
            continue
        each = suite.run(name, options, suite.DEADLINES_S[name])
        say(f"{name}: {each.fault or 'over'} after {each.took_s:.0f} s")
        ran.append(each)
        if kept is not None:
            results.append(kept, (row for told in each.told for row in results.rows_of(name, told)))
    return ran


def _draw(path: Path, folder: Path) -> None:
    from benchmarks import plots  # seconds to import: only who draws waits for it

    for drawn in plots.draw(results.read(path), folder):
        say(f"drawn: {drawn}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
