"""The player: makes the groups, then sends the lines, each group side by side on its own clock or flat out."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence

from auerbach_client import AuerbachError, ChatError, Client

from app.cli.playback.log import Channel, Line
from app.cli.playback.speakers import Speakers
from app.cli.playback.tally import Observer

OWNER = "replay"

# Groups played at once, and lines of a group whose outcome is awaited at once.
_GROUPS = 16
_WINDOW = 32
# Members named in one `create_group`: far below what a frame takes (65,536 bytes).
_CREATION_BYTES = 32_768
_ADDING = 64


async def prepare(owner: Client, channels: Sequence[Channel], others: Iterable[str] = ()) -> None:
    """Make each channel's group, owned by `OWNER`, with its cast and `others` as members; what is there already stays.

    Raises:
        ChatError: a group belongs to somebody else, or the service does not take it.
        EndedError: the connection is at its end.
    """
    for channel in channels:
        first, rest = _cut([*channel.cast, *others])
        try:
            await owner.create_group(
                channel.group, name=channel.group, members=[{"user": user} for user in first], client_msg_id="create"
            )
        except ChatError as refused:
            if refused.code not in {"already_exists", "conflict"}:
                raise
            rest = [*first, *rest]  # of a run with another cast
        for some in _batches(rest, _ADDING):
            await asyncio.gather(*(_add(owner, channel.group, user) for user in some))


async def play(
    channels: Sequence[Channel], speakers: Speakers, observer: Observer, *, speed: float | None, window: int = _WINDOW
) -> None:
    """Send every line by its speaker; `speed` times the original pace, or flat out if None.

    A group's lines leave in order. With `window` = 1 each waits for the one before; else the lines of one speaker
    stay in order, and those of different speakers may overtake each other among `window` that are under way.
    """
    stages = asyncio.Semaphore(_GROUPS)

    async def stage(channel: Channel) -> None:
        async with stages:
            await _play(channel, speakers, observer, speed, window)

    async with asyncio.TaskGroup() as playing:
        for channel in channels:
            playing.create_task(stage(channel))


async def _play(channel: Channel, speakers: Speakers, observer: Observer, speed: float | None, window: int) -> None:
    since = time.monotonic()
    slots = asyncio.Semaphore(window)

    async def send(line: Line, taken: asyncio.Event) -> None:
        try:
            async with speakers.speaking(channel.group, line.by) as speaker:
                taken.set()
                await _send(speaker, channel, line, observer)
        except AuerbachError as error:
            observer.failed(channel, line, error)
        finally:
            taken.set()
            slots.release()

    async with asyncio.TaskGroup() as sending:
        for line in channel.lines:
            if speed is not None:
                await asyncio.sleep(max(0.0, since + line.offset_s / speed - time.monotonic()))
            await slots.acquire()
            taken = asyncio.Event()
            sending.create_task(send(line, taken))
            # The next line must not be sent before this one is on its way.
            await taken.wait()


async def _send(speaker: Client, channel: Channel, line: Line, observer: Observer) -> None:
    observer.sending(channel, line)
    since = time.monotonic()
    ack = await speaker.send(channel.group, line.text, client_msg_id=line.client_msg_id)
    observer.acknowledged(channel, line, ack, time.monotonic() - since)


async def _add(owner: Client, group: str, user: str) -> None:
    try:
        await owner.add_member(group, user)
    except ChatError as refused:
        if refused.code != "already_a_member":
            raise


def _cut(users: list[str]) -> tuple[list[str], list[str]]:
    """Those who are named at creation, and those who are added one by one."""
    size = 0
    for place, user in enumerate(users):
        size += len(user.encode()) + len('{"user":""},')
        if size > _CREATION_BYTES:
            return users[:place], users[place:]
    return users, []


def _batches(users: list[str], size: int) -> Iterator[list[str]]:
    return (users[at : at + size] for at in range(0, len(users), size))
