"""`python -m benchmarks.demo`: a real chat log through real sockets, and the proof that nothing was lost or doubled.

Every line of the sample is sent by its speaker, flat out, while two readers cut their own connections at random
points and resume. Afterwards a third reader reads everything from the beginning, and all is compared byte for byte.
Exit code 1 on any deviation.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import click
import uvloop
from auerbach_client import AuerbachError, Client

from app import config
from app.cli.playback import log, player
from app.cli.playback.log import Channel, LogError
from app.cli.playback.speakers import Speakers
from app.cli.playback.tally import percentiles
from app.cli.replay import maker
from app.cli.token import credentials
from benchmarks.checking import audits, deviations
from benchmarks.reader import Reader, ResetSeenError, back_at_once
from benchmarks.record import Record

SAMPLE = Path(__file__).parent / "data" / "irc-sample.jsonl"

_PROBE_S = 1.0
_SOCKETS = 800


@click.command()
@click.option("--url", "urls", multiple=True, envvar="AUERBACH_URL", help="A gateway, or several.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=SAMPLE, help="The log.")
@click.option("--seed", type=int, envvar="DEMO_SEED", help="Of the cuts; drawn if not given.")
@click.option(
    "--deadline", "deadline_s", type=float, envvar="DEMO_DEADLINE_S", default=180, show_default=True, help="Seconds."
)
def main(urls: tuple[str, ...], file: Path, seed: int | None, deadline_s: float) -> None:
    """Play the sample against a running service and check every byte.

    Without --url: http://HOST:PORT, and the gateway on the next port if there is one.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        faults = uvloop.run(_within(deadline_s, urls, file, seed))
    except TimeoutError:
        raise click.ClickException(f"not at an end within {deadline_s:g} s") from None
    except (LogError, AuerbachError, ResetSeenError) as bad:
        raise click.ClickException(str(bad)) from None
    for fault in faults[:20]:
        click.echo(f"DEVIATION: {fault}", err=True)
    if faults:
        raise click.ClickException(f"{len(faults)} deviation(s)")
    click.echo("every line is in the log once, and all readers hold the same bytes")


async def _within(deadline_s: float, urls: Sequence[str], file: Path, seed: int) -> list[str]:
    async with asyncio.timeout(deadline_s):
        return await _demo(urls or await _gateways(), file, seed)


async def _demo(urls: Sequence[str], file: Path, seed: int) -> list[str]:
    """One run, in groups of its own; what was not as it must be."""
    channels = log.read(file, prefix=f"demo-{secrets.token_hex(4)}-")
    groups = [channel.group for channel in channels]
    record = Record(channels)
    audited = audits(channels, record)
    who = partial(credentials, config.load())
    make, make_reader = maker(who, urls), maker(who, urls, reconnect=back_at_once)
    readers = [
        Reader(make_reader(name), name, groups, record=record, chance=random.Random(f"{seed} {name}"))
        for name in ("ann", "ben")
    ]
    fresh = Reader(make_reader("cleo"), "cleo", groups, audits=audited)
    _say("service", f"{', '.join(urls)}; groups {groups[0]} …; seed {seed}")
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(make(player.OWNER))
        speakers = await stack.enter_async_context(Speakers(make, _SOCKETS))
        await _prepare(owner, speakers, channels, [*(reader.user for reader in readers), fresh.user])
        for reader in readers:
            await stack.enter_async_context(reader)
        with record.timed():
            await player.play(channels, speakers, record, speed=None)
        heads = {group: (await owner.state(group)).seq for group in groups}
        for reader in readers:
            await reader.reach(heads)
    async with fresh:
        await fresh.reach(heads)
    _report(record, readers, fresh, channels)
    held = {reader.user: reader.traces for reader in (fresh, *readers)}
    return [*record.faults, *deviations(audited, held)]


async def _prepare(owner: Client, speakers: Speakers, channels: list[Channel], readers: list[str]) -> None:
    since = time.monotonic()
    await player.prepare(owner, channels, others=readers)
    sockets = await speakers.seat(
        dict.fromkeys((channel.group, line.by) for channel in channels for line in channel.lines)
    )
    _say("prepared", f"{len(channels)} groups, {sockets} sockets of speakers in {time.monotonic() - since:.2f} s")


def _report(record: Record, readers: list[Reader], fresh: Reader, channels: list[Channel]) -> None:
    for text in record.summary():
        click.echo(text)
    for reader in readers:
        _say(reader.user, f"{reader.cuts} cuts; send to delivery, cuts included: {percentiles(reader.latencies_s)}")
    for channel in channels:
        seen = fresh.traces[channel.group]
        _say("log", f"{channel.group}: {len(seen):,} events, {seen.size_bytes:,} bytes, sha256 {seen.name}")


async def _gateways() -> list[str]:
    """The first gateway, and the second if it answers."""
    settings = config.load()
    first, second = (f"http://{settings.host}:{settings.port + i}" for i in range(2))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PROBE_S)) as http:
        return [first, second] if await _answers(http, second) else [first]


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _say(what: str, text: str) -> None:
    click.echo(f"{what:<13} {text}")


if __name__ == "__main__":
    main()
