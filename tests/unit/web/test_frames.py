"""Our frames are what aiohttp would have written."""

import asyncio
from unittest.mock import Mock

import pytest
from aiohttp import WSMsgType
from aiohttp.http_websocket import WebSocketWriter

from app.domain.outcomes import Rejection
from web.frames import ping_frame, pong_frame, reply_error, reply_ok, text_frame


async def written(payload: bytes, kind: WSMsgType) -> bytes:
    """The bytes that aiohttp's writer of a server sends for a frame."""
    transport = Mock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    protocol = Mock(_paused=False)
    await WebSocketWriter(protocol, transport).send_frame(payload, kind)
    return b"".join(call.args[0] for call in transport.write.call_args_list)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
async def test_a_text_frame_is_aiohttps(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == await written(payload, WSMsgType.TEXT)


async def test_control_frames_are_aiohttps() -> None:
    assert ping_frame() == await written(b"", WSMsgType.PING)
    assert pong_frame(b"p" * 125) == await written(b"p" * 125, WSMsgType.PONG)


async def test_replies_are_the_protocols() -> None:
    assert reply_ok("a", seq=1) == await written(b'{"type":"reply","id":"a","ok":true,"seq":1}', WSMsgType.TEXT)
    refused = (
        b'{"type":"reply","id":1,"ok":false,"error":{"code":"invalid","message":"m","temporary":false,"field":"f"}}'
    )
    assert reply_error(1, Rejection("invalid", "m", field="f")) == await written(refused, WSMsgType.TEXT)
