"""Whoever sends too much learns the code that says so, though the gateway stops reading midway (protocol §6)."""

import asyncio
import contextlib
import struct
import time
from urllib.parse import urlsplit

import pytest

from tests.support.stack import Stack
from web.session import CLOSE_S

WITHIN_S = 60
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


async def code_told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> int | None:
    """The code of the CLOSE, of a gateway that takes all that is sent.

    None where the machine stood still for as long as the gateway waits for who is sending.
    """
    began = time.monotonic()
    try:
        async with asyncio.timeout(WITHIN_S):
            writer.write(sent)
            code = await closing_code(reader)
            await writer.drain()
            return code
    except (ConnectionError, asyncio.IncompleteReadError):
        if time.monotonic() - began < CLOSE_S:
            raise
        return None


TOO_MUCH = {
    "a frame": frame(FIN | TEXT, b"z" * 4_000_000),
    "a binary frame": frame(FIN | BINARY, b"z" * 4_000_000),
    "fragments": frame(TEXT, b"z" * 1_000) + frame(CONTINUATION, b"z" * 1_000) * 2_000,
    "much after what is no WebSocket": frame(FIN | 0x3, b"") + bytes(4_000_000),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_the_code_arrives_though_the_client_is_still_sending(stack: Stack, what: str) -> None:
    told: list[int | None] = []
    for number in range(10):
        reader, writer = await opened(stack, f"outside-{number}")
        with contextlib.closing(writer):
            told.append(await code_told(reader, writer, TOO_MUCH[what]))
    assert set(told) - {None} == {1002 if what.endswith("WebSocket") else 1009}


async def test_a_client_that_goes_on_after_the_close_is_cut_off(stack: Stack) -> None:
    reader, writer = await opened(stack, "outside")
    with contextlib.closing(writer):
        assert await code_told(reader, writer, TOO_MUCH["a frame"]) in {1009, None}
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(writer), WITHIN_S)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send without end."""
    while True:
        writer.write(bytes(65_536))
        await writer.drain()
        await asyncio.sleep(0.01)
