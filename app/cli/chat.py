"""`python -m app chat`: a chat in the terminal. Lines from standard input are sent, events are printed."""

import asyncio
import concurrent.futures
import contextlib
import os
import re
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator

import click
from auerbach_client import AuerbachError, ChatError, Client, EndedError, Item, Reset, Subscription, Withheld
from auerbach_client.bodies import (
    Body,
    GroupCreated,
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
    RoleChanged,
)

from app import config
from app.cli.token import credentials
from app.config import Settings

# Of one's own lines that are not acknowledged yet, when standard input is a pipe.
_IN_FLIGHT = 64
_LAST_SHOWN_S = 5.0
_CONNECT_S = 10.0
_CHUNK_BYTES = 65_536

# What is not seen but moves, hides or reorders what is: controls, formats (those of bidirectional text too), line ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Emoji and several scripts are spelled with joiners; elsewhere they only make two names look alike.
_spelled = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")


@click.command()
@click.option("--url", help="A gateway, else http://HOST:PORT.")
@click.option("--user", required=True, help="Who you are.")
@click.option("--group", required=True, help="The group: joined, or created if there is none.")
@click.option("--last", type=click.IntRange(0, 1000), default=20, show_default=True, help="Events to show at first.")
def command(url: str | None, user: str, group: str, last: int) -> None:
    """Chat in a group, until Ctrl-D.

    From a pipe: send its lines, and end when all are acknowledged; exit code 1 if one was refused.
    """
    settings = config.load()
    try:
        unsent = asyncio.run(_chat(settings, url or f"http://{settings.host}:{settings.port}", user, group, last))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except EndedError as ended:
        hint = "; set AUERBACH_JWT_SECRET, or AUERBACH_AUTH=dev at the gateway" if ended.code == 401 else ""
        raise click.ClickException(f"{ended}{hint}") from None
    except AuerbachError as refused:
        raise click.ClickException(str(refused)) from None
    if unsent:
        raise click.ClickException(f"not sent: {unsent} line(s)")


async def _chat(settings: Settings, url: str, user: str, group: str, last: int) -> int:
    """Send what is typed until its end; the number of lines that were refused."""
    async with Client(url, **credentials(settings, user), connect_timeout_s=_CONNECT_S) as chat:
        await _enter(chat, group)
        async with chat.subscribe(group, last=last) as events:
            talk = _Talk(chat, events)
            showing, sending = asyncio.create_task(talk.show()), asyncio.create_task(talk.send_all())
            await asyncio.wait({showing, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():  # the membership or the connection ended
                sending.cancel()
                showing.result()
                raise ChatError("not_a_member", "you are a member no longer")
            await sending
            if showing.done():
                showing.result()
            elif (events.position or 0) < talk.due_seq:
                await asyncio.wait({showing}, timeout=_LAST_SHOWN_S)
            showing.cancel()
            return talk.refused


async def _enter(chat: Client, group: str) -> None:
    """Be a member: join, or create the group as an open one."""
    try:
        await chat.join(group)
    except ChatError as refused:
        if refused.code == "already_a_member":
            return
        if refused.code != "no_such_group":
            raise
        try:
            await chat.create_group(group, name=group, join="open")
        except ChatError as late:  # somebody was quicker
            if late.code != "already_exists":
                raise
            await chat.join(group)


class _Talk:
    """What one sends and sees.

    `due_seq`: what is shown before the end, at least what was there and one's own last acknowledged line; `refused`:
    how many lines were not taken.
    """

    def __init__(self, chat: Client, events: Subscription) -> None:
        self._chat = chat
        self._events = events
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._ended = False
        self.due_seq = events.head
        self.refused = 0

    async def show(self) -> None:
        """Print what happens, until one's own last line was printed or the membership ends."""
        async for item in self._events:
            click.echo(_line(item))
            if self._ended and (self._events.position or 0) >= self.due_seq:
                return

    async def send_all(self) -> None:
        """Send each line, in order, and wait for the outcome of all."""
        async with asyncio.TaskGroup() as sending:
            async for line in _lines():
                if line.strip():
                    await self._slots.acquire()
                    sending.create_task(self._send(line))
        self._ended = True

    async def _send(self, text: str) -> None:
        try:
            ack = await self._chat.send(self._events.group, text)
            self.due_seq = max(self.due_seq, ack.seq or 0)
        except AuerbachError as refused:
            self.refused += 1
            click.echo(f"not sent: {_printable(text)[:60]}: {_printable(str(refused))}", err=True)
        finally:
            self._slots.release()


async def _lines() -> AsyncIterator[str]:
    """The lines of standard input, read by a thread: a terminal must not be made non-blocking, as output shares it."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(1)

    def read() -> None:
        chunk = b"more"
        with contextlib.suppress(RuntimeError, concurrent.futures.CancelledError):  # the loop has ended before
            while chunk:
                chunk = os.read(sys.stdin.fileno(), _CHUNK_BYTES)
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()

    threading.Thread(target=read, daemon=True, name="stdin").start()
    rest = b""
    while chunk := await chunks.get():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _CHUNK_BYTES:  # no message is so long: it will be refused, and need not be kept
            lines, rest = [*lines, rest], b""
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


def _line(item: Item) -> str:
    """An event as a line for people. Whatever others write, nothing that is not seen reaches the terminal."""
    if isinstance(item, Reset):
        return "--- what stands above is void: the log was lost, or the group began anew"
    if isinstance(item, Withheld):
        return "--- what was said before you joined is not shown"
    by = _printable(item.by or "the service")
    said = _said(by, item.body)
    return f"{item.at[11:16]} {said if said is not None else f'* {by}: {_printable(item.kind)}'}"


def _said(by: str, body: Body) -> str | None:
    """What an event says; None where that is of no interest, or of a kind that is not known here."""
    match body:
        case MessagePosted(text=text):
            return f"{by}: {_text(text)}"
        case MessageEdited(text=text, target=target):
            return f"{by}: {_text(text)} (in place of {target})"
        case MessageDeleted(target=target):
            return f"* {by} deleted message {target}"
        case ReactionAdded(target=target, emoji=emoji):
            return f"* {by}: {_printable(emoji)} to message {target}"
        case ReactionRemoved(target=target, emoji=emoji):
            return f"* {by}: no {_printable(emoji)} to message {target} any more"
        case GroupCreated(name=name):
            return f"* {by} created {_printable(name)}"
        case MemberJoined(user=user):
            user = _printable(user)
            return f"* {user} joined" if user == by else f"* {by} added {user}"
        case MemberLeft(user=user):
            return f"* {_printable(user)} left"
        case MemberRemoved(user=user):
            return f"* {by} removed {_printable(user)}"
        case RoleChanged(user=user, role=role):
            return f"* {by} made {_printable(user)} {_printable(role)}"
    return None


def _text(text: str | None) -> str:
    return "(deleted)" if text is None else _printable(text)


def _printable(text: str) -> str:
    """The text with a sign in the place of each character that would not be seen itself."""
    kept = {found.start() for found in _spelled.finditer(text)}
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in _UNSEEN and at not in kept else character
        for at, character in enumerate(text)
    )
