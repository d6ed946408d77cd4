"""The parts of one client wired together: frames from the link go to the requests and the feed."""

import asyncio
import logging
from typing import Any

import aiohttp
import msgspec

from auerbach_client.backoff import Backoff
from auerbach_client.connection import Dialer
from auerbach_client.errors import EndedError
from auerbach_client.feed import Feed
from auerbach_client.frames import Bye, Event, Hello, Presence, Reply, Withheld, decode
from auerbach_client.link import Link
from auerbach_client.requests import Requests

_log = logging.getLogger("auerbach_client")


class Session:
    """The link's listener; made within a running loop."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        reconnect: Backoff,
        retry: Backoff,
        in_flight: int,
        pipeline: int,
        request_timeout_s: float,
        reply_timeout_s: float,
    ) -> None:
        self._http = aiohttp.ClientSession()
        self.link = Link(self._http, dialer, self, reconnect=reconnect, reply_s=reply_timeout_s)
        self.feed = Feed(self.link, retry=retry, timeout_s=request_timeout_s)
        self._requests = Requests(self.link, limit=in_flight, lane=pipeline, retry=retry, timeout_s=request_timeout_s)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Task[None] | None = None
        self.hello = Hello(session="", log="", user="")

    async def open(self, timeout_s: float) -> None:
        """Connect; closed again if that fails.

        Raises:
            EndedError: refused for good, or no connection within `timeout_s`.
        """
        self._running = asyncio.create_task(self.link.run())
        try:
            async with asyncio.timeout(timeout_s):
                await self._first
        except TimeoutError:
            await self.aclose()
            raise EndedError(f"no connection within {timeout_s:g} s: {self.link.trouble or 'no answer'}") from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """End the connection, the open requests and the subscriptions."""
        self._requests.ended(EndedError("the client is closed"))
        self.feed.ended(None)
        try:
            if self._running is not None:
                self._running.cancel()
                await asyncio.wait({self._running})
        finally:
            await self._http.close()

    async def request(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """A request's reply (see `Requests.ask`)."""
        self.feed.hurry()
        return await self._requests.ask(kind, fields)

    def connected(self, hello: Hello) -> None:
        """Subscriptions first, then what got no reply (protocol §6)."""
        self.hello = hello
        self.feed.connected(hello.log, hello.user)
        self._requests.connected(hello.limits.frame_bytes)
        if not self._first.done():
            self._first.set_result(None)

    @property
    def _hurry(self) -> bool:
        """Whether a reply is waited for: a caller's, or one that cuts the connection when it is late."""
        return len(self._requests) > 0 or self.link.awaiting

    async def received(self, raw: bytes) -> None:
        """One frame. What is not understood is passed over: an event that is lost by it shows as a gap."""
        try:
            frame = decode(raw)
        except msgspec.MsgspecError as bad:
            _log.warning("a frame that is not understood: %s", bad)
            return
        match frame:
            case Event():
                await self.feed.event(frame, hurry=self._hurry)
            case Reply():
                self._replied(frame)
            case Presence():
                self.feed.presence(frame)
            case Withheld():
                await self.feed.withheld(frame, hurry=self._hurry)
            case Bye():
                self.link.leaving(frame.reconnect_after_ms / 1000)

    def ended(self, error: EndedError) -> None:
        """The link is at its end."""
        if not self._first.done():
            self._first.set_exception(error)
        self._requests.ended(error)
        self.feed.ended(error)

    def _replied(self, reply: Reply) -> None:
        if isinstance(reply.id, int | str):
            self.link.settled(reply.id)
        self._requests.answered(reply)
        self.feed.answered(reply)
