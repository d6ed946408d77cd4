"""`python -m benchmarks.replay`: a whole chat log through real sockets while processes are killed, and its proof.

Starts a service of its own (broker, two processors and two gateways under `up`, which starts again what dies), plays
every line by its speaker, flat out, while a killer strikes processors and gateways at random. Then every line must
have been acknowledged and be in the log once, with its content, at the seq that was acknowledged; two readers that cut
their connections at random, one that did not and one that begins afterwards must hold the log's own bytes; and
`python -m app verify` must find nothing. Exit code 1 on any deviation, or when it is not at an end in time.
"""

import asyncio
import gc
import secrets
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import click
import uvloop
from auerbach_client import AuerbachError

from app.cli.playback import log
from app.cli.playback.log import Channel, LogError
from app.cli.playback.tally import ranks
from benchmarks.demo import SAMPLE
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.killer import EVERY_S, Killer
from benchmarks.meter import Meter, Usage
from benchmarks.reader import ResetSeenError
from benchmarks.record import Moment, Record
from benchmarks.replaying import Readers, faults, play, verify
from tests.support.stack import Stack

_SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
_SHOWN = 20
_BROKER = "kafka"


@click.command()
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=SAMPLE, help="The log.")
@click.option("--kills/--no-kills", default=True, show_default=True, help="Whether processes are killed and paused.")
@click.option(
    "--every", "every_s", type=(float, float), default=EVERY_S, show_default=True, help="Least and most seconds."
)
@click.option("--seed", type=int, help="Of blows and cuts; drawn if not given.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="Keep log and acknowledgements here.")
@click.option("--partitions", default=16, show_default=True)
@click.option("--deadline", "deadline_s", default=1200.0, show_default=True, help="Seconds for all of it.")
def main(
    file: Path,
    kills: bool,
    every_s: tuple[float, float],
    seed: int | None,
    data: Path | None,
    partitions: int,
    deadline_s: float,
) -> None:
    """Play a chat log through a service that is killed meanwhile, and check every byte."""
    load = load_now()
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    say(f"seed {seed}")
    ends = time.monotonic() + deadline_s
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        channels = log.read(file)
        gc.freeze()  # else the collector goes through every line again and again: a tenth of the driver's time
        with _service(partitions, data) as stack:
            found = _replay(stack, channels, every_s if kills else None, seed, load, ends)
    except KeyboardInterrupt:
        say("interrupted")
        raise SystemExit(130) from None
    except TimeoutError:
        raise click.ClickException(f"not at an end within {deadline_s:g} s") from None
    except (LogError, AuerbachError, ResetSeenError) as bad:
        raise click.ClickException(str(bad)) from None
    for fault in found[:_SHOWN]:
        click.echo(f"DEVIATION: {fault}", err=True)
    if found:
        raise click.ClickException(f"{len(found)} deviation(s)")
    say("every line is in the log once, all readers hold its bytes, and `verify` finds nothing")


@contextmanager
def _service(partitions: int, data: Path | None) -> Iterator[Stack]:
    """A service of our own, stopped afterwards; in a temporary folder unless `data` is given."""
    with ExitStack() as ending:
        folder = data or Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="auerbach-replay-")))
        stack = Stack(folder, partitions=partitions)
        ending.callback(stack.stop)
        try:
            stack.start()
        except AssertionError as late:
            raise click.ClickException(f"{late}\n{stack.printed()}") from None
        yield stack


def _replay(
    stack: Stack, channels: list[Channel], every_s: tuple[float, float] | None, seed: int, load: float, ends: float
) -> list[str]:
    """Play, check and tell; what was not as it must be."""
    names = [*stack.processors, *stack.gateways]
    meter = Meter(stack.pid, [_BROKER, *names])
    killer = Killer(stack.pid, names, Random(f"{seed} blows"), every_s=every_s or EVERY_S, before=meter.look, say=say)

    async def disturb(record: Record) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(meter.run(record.over))
            if every_s is not None:
                both.create_task(killer(record))

    async def run(record: Record) -> Readers:
        async with asyncio.timeout(ends - time.monotonic()):
            urls = [stack.http_url(n) for n in range(len(stack.gateways))]
            return await play(urls, channels, record, disturb, seed=seed, say=say)

    acks = stack.data / "acks.jsonl"
    with acks.open("wb") as lines:
        record = Record(channels, lines)
        readers = uvloop.run(run(record))
    found, kinds = faults(stack.bootstrap, channels, record, readers)
    verified = verify(stack.env, stack.bootstrap, acks, max(1.0, ends - time.monotonic()))
    say(verified.stdout.rstrip())
    if verified.returncode:
        found.append(f"`verify` ended with {verified.returncode}: {verified.stderr[-500:]}")
    how = f"killed and paused at random, seed {seed}" if every_s is not None else "nothing killed"
    title = f"Replay of {record.lines:,} lines in {len(channels)} groups: 2 processors, 2 gateways, {how}"
    tell(
        title, load, [*_of_lines(record, readers), *_of_blows(killer), *_of_processes(meter), *_of_log(kinds, readers)]
    )
    for what, moment in (("longest stall", record.stall), ("slowest acknowledgement", record.slowest)):
        say(f"{what}: {_told(moment)}")
    return found


def _of_lines(record: Record, readers: Readers) -> Iterator[Figure]:
    yield Figure("acknowledged", "messages/s", [record.per_second])
    for what, seconds in (("acknowledgement", record.latencies_s), ("delivery", readers.steady.latencies_s)):
        for name, value in zip(_SHARES, ranks(seconds, list(_SHARES.values())), strict=True):
            yield Figure(f"{what}, {name}", "ms", [1000 * value])
    yield Figure("longest time without any acknowledgement", "s", [record.stall.took_s])


def _of_blows(killer: Killer) -> Iterator[Figure]:
    counts = killer.counts()
    for kind in ("SIGKILL", "SIGSTOP"):
        for part in ("processor", "gateway"):
            yield Figure(f"{kind} of a {part}", "times", [counts[kind, part]])


def _of_processes(meter: Meter) -> Iterator[Figure]:
    usage: dict[str, Usage] = {**meter.usage(), "driver": meter.own_usage()}
    for name, used in usage.items():
        lives = f", {meter.lives(name)} lives" if name != "driver" and meter.lives(name) > 1 else ""
        yield Figure(f"CPU of {name}{lives}", "s", [used.cpu_s])
    for name, used in usage.items():
        yield Figure(f"highest memory of {name}", "MiB", [used.peak_mib])


def _of_log(kinds: Counter[str], readers: Readers) -> Iterator[Figure]:
    for kind, what in (("event", "events in the log"), ("void", "void records"), ("claim", "claims")):
        yield Figure(what, "records", [kinds[kind]])
    yield Figure("cuts of the two readers", "times", [sum(reader.cuts for reader in readers.cut)])


def _told(moment: Moment) -> str:
    return f"{moment.took_s:.2f} s, until {moment.at_s:.1f} s after the first line, with {moment.what}"


if __name__ == "__main__":
    main()
