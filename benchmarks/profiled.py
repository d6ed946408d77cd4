"""`python -m benchmarks.profiled --worker NAME`: a processor under cProfile, from SIGPROF to its end.

Only the thread of the loop is profiled. The profile goes to `DATA/processor.prof`.
"""

import cProfile
import signal

import click

from app import bootstrap, config


@click.command()
@click.option("--worker", required=True)
def main(worker: str) -> None:
    """Run one processor until SIGTERM."""
    settings = config.load(worker=worker)
    profile = cProfile.Profile()
    signal.signal(signal.SIGPROF, lambda *_: profile.enable())
    try:
        bootstrap.run_processor(settings)
    finally:
        profile.disable()
        profile.dump_stats(settings.data / "processor.prof")


if __name__ == "__main__":
    main()
