"""An app of the replaced service: it knows two shapes of messages, and throws at everything else."""

import asyncio
import re
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

WITHIN_S = 60  # against hanging

_instant = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}|\d{6}|\d{9}))?Z")

# What it is told about a user, word by word (protocol §8).
CONNECTED, DISCONNECTED = "client connected to the group", "client disconnected from the group"
JOINED, LEFT = "client joined the group", "client leaved the group"

# What it was told: a message as (user, text, instant), or something about a user as (user, text).
Told = tuple[str, str, str] | tuple[str, str]


def address(port: int, group: str, user: str) -> URL:
    """Where a member's socket is."""
    return URL(f"http://127.0.0.1:{port}/v1/messages/{quote(group, safe='')}?user={quote(user, safe='')}", encoded=True)


def read(group: str, data: str) -> Told:
    """What a frame tells; fails for what old apps throw at."""
    frame: Any = msgspec.json.decode(data)
    assert isinstance(frame, list), data
    assert len(frame) == 2, data
    kind, fields = frame
    assert isinstance(fields, list), data
    assert all(isinstance(field, str) for field in fields), data
    assert _instant.fullmatch(fields[-1]), data
    assert msgspec.json.encode(frame).decode() == data, "not compact"
    if kind == "NewMessage":
        assert len(fields) == 4, data
        assert fields[0] == group, data
        return fields[1], fields[2], fields[3]
    assert kind == "Information", data
    assert len(fields) == 3, data
    assert fields[1].startswith("client "), data
    return fields[0], fields[1]


class OldApp:
    """One socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, group: str) -> None:
        self.socket = socket
        self.group = group
        self.seen: list[Told] = []

    async def say(self, *texts: str) -> None:
        """Send messages."""
        for text in texts:
            await self.socket.send_str(text)

    async def next(self) -> Told:
        """What the next frame tells; fails if there is none in time or the socket was closed."""
        message = await self._receive()
        assert message.type is aiohttp.WSMsgType.TEXT, f"{message.type} {message.data} {self.socket.close_code}"
        told = read(self.group, message.data)
        self.seen.append(told)
        return told

    async def text(self) -> str:
        """The text of the next message; what is told about users before it is put aside in `seen`."""
        while True:
            told = await self.next()
            if len(told) == 3:
                return told[1]

    async def about(self, user: str, text: str) -> None:
        """Wait until this is told of a user; the rest is put aside in `seen`."""
        while await self.next() != (user, text):
            pass

    async def closed(self) -> int | None:
        """The code that the server closes with; what is told before is put aside in `seen`."""
        while True:
            message = await self._receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return self.socket.close_code
            self.seen.append(read(self.group, message.data))

    async def _receive(self) -> aiohttp.WSMessage:
        async with asyncio.timeout(WITHIN_S):  # aiohttp's own begins anew with each ping
            return await self.socket.receive()
