"""What a socket makes of a client's frames, over a real connection: bad ones, broken ones, pieces, pings."""

import asyncio

import aiohttp
import pytest

from tests.contract.client import WITHIN_S, Client
from tests.unit.web.asking import create
from tests.unit.web.world import Gateway, World


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ('{"type":"prune_history","id":7,"group":"g","through":1}', "type"),
        ('{"type":5,"id":7}', "type"),
        ('{"type":"send","id":7,"group":"g","text":"x"}', "client_msg_id"),
        ('{"type":"send","id":7,"group":"g","text":"","client_msg_id":"c"}', "text"),
        ('{"type":"send","id":7,"group":"g","text":null,"client_msg_id":"c"}', "text"),
        ('{"type":"send","id":7,"group":"\\ud800","text":"x","client_msg_id":"c"}', "group"),
        ('{"type":"send","id":7,"group":"g","text":"a\\u0000","client_msg_id":"c"}', "text"),
        ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","reply_to":1.5}', "reply_to"),
        ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","reply_to":9007199254740992}', "reply_to"),
        ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","mentions":[1]}', "mentions"),
        ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","attributes":{"a":1e999}}', "attributes"),
        ('{"type":"create_group","id":7,"group":"g","name":"G","members":[{"role":"member"}]}', "members"),
        ('{"type":"create_group","id":7,"group":"g","name":"G","join":"maybe"}', "join"),
        ('{"type":"add_member","id":7,"group":"g","user":"bob","role":"owner"}', "role"),
        ('{"type":"subscribe","id":7,"group":"g","after":1,"last":1}', "last"),
        ('{"type":"subscribe","id":7,"group":"g","after":-1}', "after"),
        ('{"type":"subscribe","id":7,"group":"g","after":true}', "after"),
        ('{"type":"subscribe","id":7,"group":"g","last":"3"}', "last"),
        ('{"type":"subscribe","id":7,"group":"."}', "group"),
        ('{"type":"subscribe","id":7,"groups":{}}', "groups"),
        ('{"type":"subscribe","id":7,"groups":[{"group":"g"},{"group":"g"}]}', "groups"),
        ('{"type":"history","id":7,"group":"g","before":1,"after":1}', "before"),
        ('{"type":"history","id":7,"group":"g","limit":201}', "limit"),
        ('{"type":"state","id":7}', "group"),
        ('{"type":"auth","id":7}', "token"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_sent_on(
    gateway: Gateway, world: World, frame: str, field: str
) -> None:
    client = await gateway.client()
    await client.send(frame)
    reply = await client.next()
    assert (reply["id"], reply["ok"]) == (7, False)
    assert (reply["error"]["code"], reply["error"]["field"]) == ("invalid", field)
    assert world.commands == []
    assert world.reads == []


@pytest.mark.parametrize("bad_id", ["null", "true", "[1]", "{}", '"\\ud800"', "1e999"])
async def test_a_bad_id_is_answered_with_null_and_is_not_malformed(gateway: Gateway, bad_id: str) -> None:
    client = await gateway.client()
    for _ in range(4):
        await client.send(f'{{"type":"ping","id":{bad_id}}}')
        reply = await client.next()
        assert (reply["id"], reply["error"]["code"]) == (None, "invalid")
    assert (await client.ask("ping"))["ok"]


@pytest.mark.parametrize("good_id", ["1", "-1.5", '""', '"é"', "123456789012345678901234567890"])
async def test_a_reply_carries_the_id_as_it_came(gateway: Gateway, good_id: str) -> None:
    client = await gateway.client()
    await client.send(f'{{"type":"ping","id":{good_id}}}')
    message = await client.socket.receive(timeout=WITHIN_S)
    assert f'"id":{good_id},"ok":true' in message.data


@pytest.mark.parametrize(
    "frame",
    ["no json", "[]", "1", '"x"', '{"id":1}', '{"type":"ping","id":NaN}', '{"type":"ping","id":1} x', "", "\ufeff{}"],
)
async def test_the_third_malformed_frame_in_a_row_closes(gateway: Gateway, frame: str) -> None:
    client = await gateway.client()
    for _ in range(2):
        await client.send(frame)
        assert (await client.next())["id"] is None
    assert (await client.ask("ping"))["ok"]  # a good frame starts the count again
    for _ in range(3):
        await client.send(frame)
        reply = await client.next()
        assert (reply["id"], reply["error"]["code"]) == (None, "invalid")
    assert await client.closed() == 4400


async def test_binary_frames_are_malformed(gateway: Gateway) -> None:
    client = await gateway.client()
    for _ in range(3):
        await client.socket.send_bytes(b'{"type":"ping","id":1}')
        assert (await client.next())["id"] is None
    assert await client.closed() == 4400


async def test_kinds_of_malformed_frames_count_together_and_a_bad_id_is_not_one_of_them(gateway: Gateway) -> None:
    client = await gateway.client()
    await client.send("no json")
    await client.socket.send_bytes(b"binary")
    await client.send('{"type":"ping","id":null}')  # a request, if a bad one: the count begins anew
    await client.send("[]")
    await client.send('{"id":1}')
    await client.send("no json")
    await client.send('{"type":"ping","id":1}')
    assert [(await client.next())["id"] for _ in range(6)] == [None] * 6
    assert await client.closed() == 4400
    assert client.others == []  # what came behind the third is not served


async def test_malformed_frames_are_counted_before_authentication_too(gateway: Gateway) -> None:
    client = await gateway.connect("")
    for _ in range(3):
        await client.send("no json")
        assert (await client.next())["error"]["code"] == "invalid"
    assert await client.closed() == 4400


def ping_of(size: int) -> bytes:
    """A request of `size` bytes; half of its filling are two bytes each."""
    empty = '{"type":"ping","id":1,"x":""}'
    room = size - len(empty)
    return empty.replace('""', '"' + "é" * (room // 4) + "a" * (room - 2 * (room // 4)) + '"').encode()


async def test_a_frame_of_the_limit_is_taken_and_one_byte_more_closes(gateway: Gateway) -> None:
    client = await gateway.client()
    await client.send(ping_of(65_536).decode())
    assert (await client.next())["ok"]
    await client.send(ping_of(65_537).decode())
    assert await client.closed() == 1009


async def send_fragments(client: Client, payload: bytes, pieces: int, between: bytes = b"") -> None:
    """Send a text in `pieces` frames, cut anywhere, and a ping between each two."""
    writer = client.socket._writer
    size = -(-len(payload) // pieces)
    parts = [payload[i : i + size] for i in range(0, len(payload), size)]
    for number, part in enumerate(parts):
        opcode = 0x01 if number == 0 else 0x00
        final = 0x80 if number == len(parts) - 1 else 0x00
        mask, length = b"\x01\x02\x03\x04", len(part).to_bytes(8, "big")
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(part))
        writer.transport.write(bytes((final | opcode, 0x80 | 127)) + length + mask + masked)
        if between and not final:
            await client.socket.ping(between)


async def test_a_message_in_fragments_is_one_and_has_the_same_limit(gateway: Gateway) -> None:
    client = await gateway.client()
    await send_fragments(client, ping_of(65_536), pieces=7)
    assert (await client.next())["ok"]
    await send_fragments(client, ping_of(65_537), pieces=7)
    assert await client.closed() == 1009


async def test_fragments_without_end_are_cut_off_at_the_limit(gateway: Gateway) -> None:
    client = await gateway.client()
    await send_fragments(client, ping_of(131_072), pieces=100)
    assert await client.closed() == 1009


async def test_pings_between_fragments_are_answered_while_the_message_goes_on(gateway: Gateway) -> None:
    client = await gateway.connect(autoping=False)
    await client.next()
    await send_fragments(client, ping_of(1_000), pieces=4, between=b"between")
    for _ in range(3):
        message = await client.socket.receive(timeout=WITHIN_S)
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"between")
    assert (await client.next())["ok"]


async def test_a_character_cut_by_a_fragment_is_whole_again_and_a_broken_one_is_not(gateway: Gateway) -> None:
    client = await gateway.client()
    text = '{"type":"ping","id":"é🦊"}'.encode()
    await send_fragments(client, text, pieces=len(text))
    assert (await client.next())["id"] == "é🦊"
    await send_fragments(client, text.replace("é".encode(), b"\xc3"), pieces=len(text))
    assert await client.closed() == 1007


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"])
async def test_invalid_utf8_closes_with_1007(gateway: Gateway, bad: bytes) -> None:
    client = await gateway.client()
    await client.socket.send_frame(b'{"type":"ping","id":"' + bad + b'"}', aiohttp.WSMsgType.TEXT)
    assert await client.closed() == 1007


@pytest.mark.parametrize("payload", [b"", b"abc", bytes(range(125))])
async def test_pings_of_the_client_are_answered_with_their_payload_at_any_time(
    gateway: Gateway, payload: bytes
) -> None:
    for query in ("?user=alice", ""):
        client = await gateway.connect(query, autoping=False)
        if query:
            await client.next()
        await client.socket.ping(payload)
        message = await client.socket.receive(timeout=WITHIN_S)
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, payload)


async def test_nothing_is_written_after_our_close(gateway: Gateway, world: World) -> None:
    alice = await gateway.client("alice")
    await create(alice, members=[{"user": "bob"}])
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /v1/ws?user=bob HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    for text in (b'{"type":"subscribe","id":1,"group":"g"}', b"x", b"x", b"x", b'{"type":"ping","id":2}'):
        writer.write(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)
    writer.write(bytes((0x89, 0x80)) + bytes(4))  # a ping
    frames_seen: list[tuple[int, bytes]] = []
    while not frames_seen or frames_seen[-1][0] != 0x88:
        frames_seen.append(await read_frame(reader))
    await alice.ask("send", group="g", text="late", client_msg_id="c")
    writer.write(bytes((0x88, 0x82)) + bytes(4) + (4400).to_bytes(2, "big"))
    assert frames_seen[-1][1][:2] == (4400).to_bytes(2, "big")
    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first byte and the payload of a server's frame."""
    first, size = await reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    elif size == 127:
        size = int.from_bytes(await reader.readexactly(8), "big")
    return first, await reader.readexactly(size)
