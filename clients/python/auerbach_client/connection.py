"""One WebSocket, from handshake to close: frames as bytes in and out."""

import asyncio
import contextlib
import inspect
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiohttp
import msgspec

from auerbach_client.frames import Hello, decode

Token = str | Callable[[], str | Awaitable[str]]
Socket = aiohttp.ClientWebSocketResponse[bool]

SUBPROTOCOL = "chat.v1.json"

_HANDSHAKE_S = 10.0
# No frame of the server exceeds 1 MiB (protocol, head of the page).
_MOST_BYTES = 1024 * 1024 + 1024
_CLOSE_S = 2.0


class HandshakeError(Exception):
    """There is no connection: `status` is the server's HTTP status, `code` its close code, or neither."""

    def __init__(self, why: str, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.code = code


class Connection:
    """A connection that has said hello, opened with `token` (None in development mode)."""

    def __init__(self, ws: Socket, hello: Hello, token: str | None) -> None:
        self._ws = ws
        self.hello = hello
        self.token = token
        self._waiting_since: float | None = None

    @property
    def silent_s(self) -> float:
        """For how long the peer has said nothing, pings included, while we listened."""
        since = self._waiting_since
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    @property
    def close_code(self) -> int | None:
        """The server's close code once it is closed; 1006 or None where the network ended it."""
        return self._ws.close_code

    async def send(self, frame: bytes) -> None:
        """Write one text frame; waits while the socket is congested.

        Raises:
            ConnectionError: the connection is over (aiohttp.ClientConnectionError is one too).
        """
        await self._ws.send_frame(frame, aiohttp.WSMsgType.TEXT)

    async def frames(self) -> AsyncIterator[bytes]:
        """The text frames that come, until the connection ends, however it does."""
        while True:
            # What is not read while a consumer is behind is no silence of the peer's.
            self._waiting_since = asyncio.get_running_loop().time()
            message = await self._ws.receive()
            self._waiting_since = None
            if message.type is aiohttp.WSMsgType.TEXT:
                yield message.data
            elif message.type is aiohttp.WSMsgType.PING:
                with contextlib.suppress(ConnectionError):  # the next receive says so
                    await self._ws.pong(message.data)
            elif message.type not in {aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.PONG}:
                return

    async def close(self) -> None:
        """Close in an orderly way, within two seconds."""
        await self._ws.close()

    def cut(self) -> None:
        """End the connection without a word, as a broken network does."""
        sock = self._ws.get_extra_info("socket")
        if sock is not None:
            # A loop's own socket object may have no shutdown (uvloop); a copy of the descriptor is the same socket.
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)


class Dialer:
    """Where to connect, and as whom. Several URLs are gateways of one service, taken in turn."""

    def __init__(self, urls: Sequence[str], *, user: str | None, token: Token | None) -> None:
        if (user is None) == (token is None):
            raise ValueError("give either user (development mode) or token")
        if not urls:
            raise ValueError("give at least one URL")
        self._urls = itertools.cycle([url.rstrip("/") + "/v1/ws" for url in urls])
        self._user = user
        self._token = token

    @property
    def renews_token(self) -> bool:
        """Whether each connection gets a token of its own."""
        return callable(self._token)

    async def connect(self, http: aiohttp.ClientSession) -> Connection:
        """Connect to the next URL, authenticate and wait for hello; 10 s at most.

        Raises:
            HandshakeError: no connection, and why.
        """
        url = next(self._urls)
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                token = await self._first_token()
                ws = await http.ws_connect(
                    url,
                    protocols=(SUBPROTOCOL,),
                    params={"user": self._user} if self._user is not None else None,
                    headers={"Authorization": f"Bearer {token}"} if token is not None else None,
                    autoping=False,  # pings are what tells a silent peer from a dead one
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                    max_msg_size=_MOST_BYTES,
                    decode_text=False,
                )
                try:
                    return Connection(ws, await _hello(ws, url), token)
                except BaseException:
                    await ws.close()
                    raise
        except aiohttp.WSServerHandshakeError as refused:
            raise HandshakeError(f"{url}: HTTP {refused.status}", status=refused.status) from refused
        except TimeoutError as late:
            raise HandshakeError(f"{url}: no connection within {_HANDSHAKE_S:.0f} s") from late
        except (aiohttp.ClientError, OSError) as failed:
            raise HandshakeError(f"{url}: {failed}") from failed

    async def fresh_token(self) -> str:
        """Ask the caller's function for a token.

        Raises:
            Exception: whatever that raises.
        """
        assert callable(self._token)
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    async def _first_token(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            return await self.fresh_token()
        except Exception as failed:  # the caller's function: there may be a token later
            raise HandshakeError(f"no token: {failed!r}") from failed


async def _hello(ws: Socket, url: str) -> Hello:
    message = await ws.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise HandshakeError(f"{url}: closed with {ws.close_code} before hello", code=ws.close_code)
    try:
        frame = decode(message.data)
    except msgspec.MsgspecError as bad:
        raise HandshakeError(f"{url}: the first frame is not hello: {bad}") from bad
    if not isinstance(frame, Hello):
        raise HandshakeError(f"{url}: the first frame is not hello")
    return frame
