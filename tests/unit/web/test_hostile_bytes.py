"""The WebSocket frame decoder, fed with what no client sends: a connection may end by it, and nothing else."""

import asyncio
import base64
import os
from random import Random
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.contract.client import WITHIN_S
from tests.unit.web.world import Gateway

SEEDS = 120
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Wire:
    """A WebSocket connection as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and payload of the server's next frame."""
        async with asyncio.timeout(WITHIN_S):
            first, size = await self.reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def end(self) -> bytes:
        """Send nothing more; all that the server still says until it ends the connection."""
        self.writer.write_eof()
        async with asyncio.timeout(WITHIN_S):
            said = await self.reader.read()
        self.writer.close()
        return said


async def connect(gateway: Gateway) -> Wire:
    """A connection behind its handshake and hello."""
    address = urlsplit(gateway.url)
    wire = Wire(*await asyncio.open_connection(address.hostname, address.port))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = ("GET /v1/ws?user=alice HTTP/1.1", f"Host: {address.netloc}", "Upgrade: websocket", "Connection: Upgrade")
    wire.writer.write("\r\n".join((*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "")).encode())
    assert b" 101 " in await wire.reader.readuntil(b"\r\n\r\n")
    assert msgspec.json.decode((await wire.frame())[1])["type"] == "hello"
    return wire


def frame(dice: Random, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame, masked."""
    size = len(payload)
    length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2, "big")
    mask = dice.randbytes(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([opcode | (128 if fin else 0)]) + length + mask + masked


def hostile(dice: Random) -> bytes:
    """A few frames with faults of every kind: bits, lengths, masks, order, cut anywhere."""
    made = bytearray()
    for _ in range(dice.randrange(1, 6)):
        opcode = dice.choice([0, TEXT, TEXT, TEXT, BINARY, 3, 7, CLOSE, PING, PONG, 11, 15])
        payload = dice.choice(
            [b"", b'{"type":"ping","id":1}', dice.randbytes(dice.randrange(300)), b"\xff\xfe", b"\x03"]
        )
        one = bytearray(frame(dice, opcode, payload, fin=dice.random() < 0.7))
        if dice.random() < 0.4:
            one[dice.randrange(min(len(one), 14))] ^= 1 << dice.randrange(8)  # the head, mostly
        made += one
    return bytes(made[: dice.randrange(len(made) + 1)]) if dice.random() < 0.2 else bytes(made)


async def test_whatever_bytes_come_only_their_connection_ends(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    accidents: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: accidents.append(context))
    bystander = await gateway.client("bob")
    for seed in range(SEEDS):
        wire = await connect(gateway)
        wire.writer.write(hostile(Random(seed)))
        await wire.end()
        assert (await bystander.ask("ping"))["ok"]
    while len(gateway.sessions) > 1:
        await asyncio.sleep(0)
    assert bystander.others == []
    assert accidents == []
    assert [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


async def test_however_a_text_is_cut_into_fragments_it_is_one_request(gateway: Gateway) -> None:
    wire = await connect(gateway)
    for seed in range(60):
        dice = Random(seed)
        text = msgspec.json.encode({"type": "ping", "id": "é🎉" * dice.randrange(9), "x": "€" * dice.randrange(300)})
        cuts = sorted(dice.randrange(len(text) + 1) for _ in range(dice.randrange(7)))
        parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        sent, pings = b"", 0
        for at, part in enumerate(parts):
            sent += frame(dice, TEXT if at == 0 else 0, part, fin=at == len(parts) - 1)
            if at < len(parts) - 1 and dice.random() < 0.5:
                sent += frame(dice, PING, b"%d" % pings)  # control frames may come between
                pings += 1
        step = dice.randrange(1, 120)  # pieces that have nothing to do with frames
        for start in range(0, len(sent), step):
            wire.writer.write(sent[start : start + step])
            await asyncio.sleep(0)
        said = [await wire.frame() for _ in range(pings + 1)]
        assert [payload for opcode, payload in said if opcode == PONG] == [b"%d" % n for n in range(pings)]
        [reply] = [msgspec.json.decode(payload) for opcode, payload in said if opcode == TEXT]
        assert reply == {"type": "reply", "id": msgspec.json.decode(text)["id"], "ok": True}
    await wire.end()
