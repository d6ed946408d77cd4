"""The end of a connection whose client is still sending: the CLOSE must get there before the connection goes.

What a kernel holds unread when a connection is closed makes it a reset (RFC 2525 §2.17), and a reset takes from the
client what it has not read yet. So whoever sent a frame that is too large would mostly not learn the code that says so,
and would send it again.
"""

import asyncio
import contextlib

from aiohttp import WSCloseCode

from web.frames import close_frame

# What aiohttp closes with when it gives up reading; it drops what comes after that.
UNREAD = frozenset({WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG})


async def close_unread(transport: asyncio.Transport, code: int, within_s: float) -> None:
    """Send a CLOSE with `code`, and drop what comes until the client closes too or `within_s` have passed.

    The connection has ended when this returns or raises.
    """
    dropping = _Dropping(transport.get_protocol())
    try:
        # Of a client that does not close, or is gone: uvloop raises for a transport that has just gone.
        with contextlib.suppress(TimeoutError, RuntimeError, OSError):
            if transport.is_closing():
                return
            transport.set_protocol(dropping)
            transport.write(close_frame(code))
            if transport.can_write_eof():
                transport.write_eof()
            transport.resume_reading()  # aiohttp pauses it where messages wait
            async with asyncio.timeout(within_s):
                await dropping.lost.wait()
    finally:
        transport.abort()


class _Dropping(asyncio.Protocol):
    """In place of a connection's protocol, which learns of nothing but its end."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self.lost = asyncio.Event()
        self._protocol = protocol

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        self.lost.set()
