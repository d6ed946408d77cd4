"""A client of the protocol in its barest form: frames out, frames in, nothing repaired."""

import itertools
from typing import Any

import aiohttp
import msgspec

WITHIN_S = 60  # against hanging only: longer than a gateway lets a request wait


class Client:
    """One socket of a client, with the frames that it has got; signals are put aside, for they come at any time."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.others: list[dict[str, Any]] = []
        self.signals: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    async def send(self, frame: Any) -> None:
        """Send a frame: a text as it is, or a value as JSON."""
        await self.socket.send_str(frame if isinstance(frame, str) else msgspec.json.encode(frame).decode())

    async def next(self) -> dict[str, Any]:
        """The next frame that is no signal; fails if there is none in time or the socket was closed."""
        while (frame := await self.any())["type"] == "signal":
            self.signals.append(frame)
        return frame

    async def signal(self) -> dict[str, Any]:
        """The next signal, which may have been put aside; other frames before it are put aside in `others`."""
        while not self.signals:
            frame = await self.any()
            (self.signals if frame["type"] == "signal" else self.others).append(frame)
        return self.signals.pop(0)

    async def any(self) -> dict[str, Any]:
        """The next frame; fails if there is none in time or the socket was closed."""
        message = await self.socket.receive(timeout=WITHIN_S)
        assert message.type is aiohttp.WSMsgType.TEXT, f"{message.type} {message.data} {self.socket.close_code}"
        frame: dict[str, Any] = msgspec.json.decode(message.data)
        return frame

    async def start(self, kind: str, **fields: Any) -> int:
        """Send a request; its id."""
        number = next(self._ids)
        await self.send({"type": kind, "id": number, **fields})
        return number

    async def reply(self, number: Any) -> dict[str, Any]:
        """The reply to a request; other frames before it are put aside in `others`."""
        while True:
            frame = await self.next()
            if frame["type"] == "reply" and frame["id"] == number:
                return frame
            self.others.append(frame)

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply."""
        return await self.reply(await self.start(kind, **fields))

    async def seqs(self, count: int) -> list[int]:
        """The seqs of the next `count` frames, which must be events."""
        frames = [await self.next() for _ in range(count)]
        assert all(frame["type"] == "event" for frame in frames), frames
        return [frame["seq"] for frame in frames]

    async def closed(self) -> int | None:
        """The code that the server closes with; frames before it are put aside."""
        while True:
            message = await self.socket.receive(timeout=WITHIN_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return self.socket.close_code
            self.others.append(msgspec.json.decode(message.data))
