"""`python -m app replay`: play a chat log through real sockets."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import click
import uvloop
from auerbach_client import Ack, AuerbachError, Backoff, Client
from tqdm import tqdm

from app import config
from app.cli.playback import log, player
from app.cli.playback.log import Channel, Line, LogError
from app.cli.playback.speakers import Speakers
from app.cli.playback.tally import Tally
from app.cli.token import Credentials, credentials

_CONNECT_S = 10.0


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", "urls", multiple=True, help="A gateway, else http://HOST:PORT; several share the speakers.")
@click.option("--prefix", default="", help="Put before each group's id; another one makes a run of its own.")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Pace.")
@click.option("--flat-out", is_flag=True, help="As fast as it goes, instead of at the original pace times --speed.")
@click.option("--window", type=click.IntRange(1, 1000), default=32, show_default=True, help="Lines under way a group.")
@click.option("--connections", type=click.IntRange(1), default=512, show_default=True, help="Sockets open at once.")
def command(
    file: Path, urls: tuple[str, ...], prefix: str, speed: float, flat_out: bool, window: int, connections: int
) -> None:
    """Play FILE, a chat log as JSON lines (.gz too): one message a line, by its speaker, in its group.

    A line is `{"group","kind","user","minute"?,"text"?,"to"?}`, kind `message`, `action` or `rename`. Groups are
    made, and speakers made members, by the user `replay`. Playing a file again doubles nothing: a line's number is
    its client_msg_id. Exit code 1 if a line was not acknowledged.
    """
    settings = config.load()
    make = maker(partial(credentials, settings), urls or (f"http://{settings.host}:{settings.port}",))
    try:
        channels = log.read(file, prefix)
        tally = uvloop.run(_replay(channels, make, None if flat_out else speed, window, connections))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LogError, AuerbachError) as bad:
        raise click.ClickException(str(bad)) from None
    for text in (*tally.summary(), *tally.first_failures):
        click.echo(text)
    if tally.failures:
        raise SystemExit(1)


def maker(
    who: Callable[[str], Credentials],
    urls: Sequence[str],
    *,
    connect_timeout_s: float = _CONNECT_S,
    reconnect: Callable[[], Backoff] | None = None,
    pipeline: int = 1,
) -> Callable[[str], Client]:
    """Makes clients by user, spread over the gateways; each goes on to the next one when its own is lost."""
    turns = itertools.cycle([[*urls[at:], *urls[:at]] for at in range(len(urls))])

    def make(user: str) -> Client:
        waits = reconnect() if reconnect is not None else None
        return Client(next(turns), **who(user), connect_timeout_s=connect_timeout_s, reconnect=waits, pipeline=pipeline)

    return make


async def _replay(
    channels: list[Channel], make: Callable[[str], Client], speed: float | None, window: int, connections: int
) -> Tally:
    """Make the groups, open the sockets, play."""
    async with make(player.OWNER) as owner, Speakers(make, connections) as speakers:
        click.echo(f"making {len(channels)} group(s)", err=True)
        await player.prepare(owner, channels)
        keys = dict.fromkeys((channel.group, line.by) for channel in channels for line in channel.lines)
        opened = await speakers.seat(keys)
        click.echo(f"opened {opened} socket(s) for {len(keys)} speaker(s)", err=True)
        with _Progress(sum(len(channel.lines) for channel in channels)) as tally:
            await player.play(channels, speakers, tally, speed=speed, window=window)
        return tally


class _Progress(Tally):
    """A tally that draws a bar on a terminal."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._bar = tqdm(total=lines, unit=" lines", disable=None)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._bar.close()

    def acknowledged(self, channel: Channel, line: Line, ack: Ack, latency_s: float) -> None:
        """Count one."""
        super().acknowledged(channel, line, ack, latency_s)
        self._bar.update()

    def failed(self, channel: Channel, line: Line, error: AuerbachError) -> None:
        """Count one."""
        super().failed(channel, line, error)
        self._bar.update()
