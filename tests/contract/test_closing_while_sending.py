"""Whoever sends too much learns the code that says so, though the gateway stops reading midway (protocol §6)."""

import asyncio
import contextlib
import struct
from urllib.parse import urlsplit

import pytest

from tests.support.stack import Stack

WITHIN_S = 15
TEXT, BINARY, CONTINUATION, CLOSE = 0x1, 0x2, 0x0, 0x8
FIN = 0x80


async def opened(stack: Stack, user: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket as bytes, after its handshake."""
    url = urlsplit(stack.ws_url(0, user))
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(
        f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def frame(first: int, payload: bytes) -> bytes:
    """A frame of a client, masked with zeros."""
    return bytes((first, 0xFF)) + struct.pack(">Q", len(payload)) + bytes(4) + payload


async def closing_code(reader: asyncio.StreamReader) -> int:
    """The code of the CLOSE; EOF or a reset before it fails."""
    while True:
        first, size = await reader.readexactly(2)
        length = struct.unpack(">H", await reader.readexactly(2))[0] if size == 126 else size
        payload = await reader.readexactly(length)
        if first & 0xF == CLOSE:
            return int.from_bytes(payload[:2], "big")


TOO_MUCH = {
    "a frame": frame(FIN | TEXT, b"z" * 4_000_000),
    "a binary frame": frame(FIN | BINARY, b"z" * 4_000_000),
    "fragments": frame(TEXT, b"z" * 1_000) + frame(CONTINUATION, b"z" * 1_000) * 2_000,
    "much after what is no WebSocket": frame(FIN | 0x3, b"") + bytes(4_000_000),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_the_code_arrives_though_the_client_is_still_sending(stack: Stack, what: str) -> None:
    for number in range(10):
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await opened(stack, f"outside-{number}")
            with contextlib.closing(writer):
                writer.write(TOO_MUCH[what])
                assert await closing_code(reader) == (1002 if what.endswith("WebSocket") else 1009)
                await writer.drain()  # it was all taken


async def test_a_client_that_goes_on_after_the_close_is_cut_off(stack: Stack) -> None:
    reader, writer = await opened(stack, "outside")
    with contextlib.closing(writer):
        writer.write(TOO_MUCH["a frame"])
        assert await asyncio.wait_for(closing_code(reader), WITHIN_S) == 1009
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(writer), WITHIN_S)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send without end."""
    while True:
        writer.write(bytes(65_536))
        await writer.drain()
        await asyncio.sleep(0.01)
