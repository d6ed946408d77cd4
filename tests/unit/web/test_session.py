"""One socket, over a real connection: what the protocol says of it, without a broker."""

import asyncio
import time
from typing import Any

import aiohttp
import jwt
import msgspec
import pytest

from app.kafka import topics
from app.kafka.producer import QueueFullError
from app.revocations import Revocation, encode_revocation
from tests.contract.client import WITHIN_S, Client
from tests.unit.web.world import LOG_ID, REQUEST_TIMEOUT_S, SECRET, Gateway, Record, World, running
from web import frames, outbox
from web.session import SILENT_S

Group = dict[str, Any]


def token(user: str = "alice", lives_s: float = 60, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time() + lives_s), **claims}, SECRET, algorithm="HS256")


async def create(client: Client, group: str = "g", **fields: Any) -> None:
    assert (await client.ask("create_group", group=group, name="G", **fields))["ok"]


async def test_hello_comes_first_and_says_what_the_protocol_lists(gateway: Gateway) -> None:
    client = await gateway.connect(protocols=("chat.v1.json",))
    hello = await client.next()
    assert client.socket.protocol == "chat.v1.json"
    assert hello.pop("session")
    assert hello == {
        "type": "hello",
        "protocol": "chat.v1.json",
        "log": LOG_ID,
        "user": "alice",
        "heartbeat_ms": 25000,
        "limits": {"frame_bytes": 65536, "text_bytes": 16384, "groups": 1000, "requests_per_second": 50},
    }


async def test_an_unknown_subprotocol_is_accepted_without_one(gateway: Gateway) -> None:
    client = await gateway.connect(protocols=("other",))
    assert client.socket.protocol is None
    assert (await client.next())["type"] == "hello"


async def test_a_command_is_acknowledged_when_its_event_is_read_and_not_before(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    world.auto_deliver = False
    number = await client.start("create_group", group="g", name="G")
    assert (await client.ask("ping"))["ok"]
    while not world.unread:
        await asyncio.sleep(0)
    assert client.others == []
    world.deliver()
    assert await client.reply(number) == {"type": "reply", "id": number, "ok": True, "group": "g", "seq": 1}


async def test_a_message_is_sent_once_however_often_it_is_asked(gateway: Gateway) -> None:
    client = await gateway.client()
    await create(client)
    first = await client.ask("send", group="g", text="hi", client_msg_id="c")
    again = await client.ask("send", group="g", text="hi", client_msg_id="c")
    other = await client.ask("send", group="g", text="ho", client_msg_id="c")
    assert (first["seq"], first["duplicate"]) == (2, False)
    assert (again["seq"], again["duplicate"], again["at"]) == (2, True, first["at"])
    assert other["error"]["code"] == "conflict"


async def test_commands_of_one_partition_leave_in_one_record_in_their_order(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    numbers = [await client.start("send", group="g", text=str(i), client_msg_id=str(i)) for i in range(50)]
    replies = [await client.reply(number) for number in numbers]
    assert [reply["seq"] for reply in replies] == list(range(2, 52))


async def test_a_group_without_id_gets_the_same_one_for_the_same_request(gateway: Gateway) -> None:
    client, other = await gateway.client("alice"), await gateway.client("bob")
    first = await client.ask("create_group", name="G", client_msg_id="c")
    again = await client.ask("create_group", name="G", client_msg_id="c")
    others = await other.ask("create_group", name="G", client_msg_id="c")
    random = [await client.ask("create_group", name="G") for _ in range(2)]
    assert (again["group"], again["seq"], again["duplicate"]) == (first["group"], 1, True)
    assert others["group"] != first["group"]
    assert random[0]["group"] != random[1]["group"]


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


async def test_a_silent_socket_is_pinged_and_closed_after_two_heartbeats(gateway: Gateway) -> None:
    client = await gateway.connect(autoping=False)
    await client.next()
    now = asyncio.get_running_loop().time()
    gateway.sessions.sweep(now + SILENT_S / 2 + 1)
    assert (await client.socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.PING
    gateway.sessions.sweep(now + SILENT_S + 2)
    await client.closed()
    assert client.socket.close_code == 1001


async def test_what_a_broker_does_not_take_is_unavailable_and_what_it_may_have_taken_is_a_timeout(
    gateway: Gateway, world: World
) -> None:
    client = await gateway.client()
    world.refuse_commands = QueueFullError("full")
    refused = await client.ask("create_group", group="g", name="G")
    assert (refused["error"]["code"], refused["error"]["temporary"]) == ("unavailable", True)
    world.refuse_commands, world.hold_commands = None, True
    number = await client.start("create_group", group="g", name="G")
    while not world.held:
        await asyncio.sleep(0)
    world.commander.sweep(asyncio.get_running_loop().time() + REQUEST_TIMEOUT_S + 1)
    late = await client.reply(number)
    assert (late["error"]["code"], late["error"]["temporary"]) == ("timeout", True)
    world.release()
    assert (await client.ask("ping"))["ok"]
    assert client.others == []  # the outcome that came too late is told to nobody


async def test_a_read_sees_the_writes_sent_before_it_and_not_those_after(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    world.hold_commands = True
    sent = await client.start("send", group="g", text="1", client_msg_id="1")
    state = await client.start("state", group="g")
    later = await client.start("send", group="g", text="2", client_msg_id="2")
    while not world.held:
        await asyncio.sleep(0)
    assert (await client.ask("ping"))["ok"]
    assert world.reads == []
    assert len(world.commands) == 2
    world.hold_commands = False
    world.release()
    assert (await client.reply(sent))["seq"] == 2
    assert (await client.reply(state))["state"]["seq"] == 2
    assert (await client.reply(later))["seq"] == 3


async def test_a_subscription_runs_from_the_replay_into_the_live_events(gateway: Gateway, world: World) -> None:
    client, reader = await gateway.client(), await gateway.client()
    await create(client)
    for i in range(4):
        await client.ask("send", group="g", text=str(i), client_msg_id=str(i))
    world.page = 2
    reply = await reader.ask("subscribe", group="g", after=1)
    await client.ask("send", group="g", text="x", client_msg_id="x")
    assert (reply["group"], reply["seq"], reply["from"], reply["recovered"]) == ("g", 5, 2, True)
    assert reply["state"]["members"] == [{"user": "alice", "role": "owner", "read": 1}]
    assert await reader.seqs(5) == [2, 3, 4, 5, 6]


async def test_the_frame_of_an_event_is_its_bytes_in_the_log(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    await client.ask("subscribe", group="g", after=0)
    await client.ask("send", group="g", text="é\u2028", client_msg_id="1")
    live = client.others.pop() if client.others else await client.next()
    replayed = await gateway.client()
    await replayed.ask("subscribe", group="g", last=1)
    assert await replayed.next() == (live if live["seq"] == 2 else await client.next())
    assert msgspec.json.decode(world.log.group("g").frames[1])["data"] == {"text": "é\u2028"}


async def test_what_happens_while_the_answer_is_on_its_way_is_not_missed(gateway: Gateway, world: World) -> None:
    client, reader = await gateway.client(), await gateway.client()
    await create(client)
    world.way.clear()
    number = await reader.start("subscribe", group="g")
    while not world.answered:
        await asyncio.sleep(0)
    await client.ask("send", group="g", text="x", client_msg_id="x")
    world.way.set()
    assert (await reader.reply(number))["seq"] == 1
    assert await reader.seqs(1) == [2]


async def test_subscribing_again_replaces_and_a_refusal_leaves_the_one_before(gateway: Gateway, world: World) -> None:
    owner, client = await gateway.client("alice"), await gateway.client("bob")
    await create(owner, members=[{"user": "bob"}])
    assert (await client.ask("subscribe", group="g"))["ok"]
    assert (await client.ask("subscribe", group="g", last=1))["from"] == 1
    assert await client.seqs(1) == [1]
    world.owner_away = True
    assert (await client.ask("subscribe", group="g"))["error"]["code"] == "unavailable"
    await owner.ask("send", group="g", text="x", client_msg_id="x")
    assert await client.seqs(1) == [2]
    assert (await client.ask("ping"))["ok"]
    assert client.others == []  # it came once, though two subscriptions succeeded and one failed


async def test_the_removal_of_a_member_is_the_last_event_it_gets(gateway: Gateway, world: World) -> None:
    owner, client = await gateway.client("alice"), await gateway.client("bob")
    await create(owner, members=[{"user": "bob"}])
    await client.ask("subscribe", group="g")
    await owner.ask("remove_member", group="g", user="bob")
    await owner.ask("send", group="g", text="secret", client_msg_id="x")
    assert await client.seqs(1) == [2]
    assert (await client.ask("ping"))["ok"]
    assert client.others == []
    assert not world.hub.follows(b"g")
    assert (await client.ask("subscribe", group="g"))["error"]["code"] == "not_a_member"


async def test_unsubscribing_ends_the_events_and_is_ok_without_a_subscription(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    assert (await client.ask("unsubscribe", group="g"))["ok"]
    await client.ask("subscribe", group="g")
    assert (await client.ask("unsubscribe", group="g"))["ok"]
    assert not world.hub.follows(b"g")


async def test_a_batch_answers_each_group_for_itself(gateway: Gateway) -> None:
    client = await gateway.client()
    await create(client, "a")
    await create(client, "b")
    groups = [{"group": "a", "after": 0}, {"group": "none"}, {"group": " "}, {"group": "b"}]
    reply = await client.ask("subscribe", groups=groups)
    a, none, bad, b = reply["results"]
    assert (a["ok"], a["group"], a["seq"], a["from"]) == (True, "a", 1, 1)
    assert (none["ok"], none["group"], none["error"]["code"]) == (False, "none", "no_such_group")
    assert (bad["ok"], bad["error"]["field"]) == (False, "group")
    assert (b["ok"], b["from"]) == (True, 2)
    assert "state" not in a
    assert await client.seqs(1) == [1]


async def test_a_socket_follows_at_most_its_limit_of_groups(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "GROUPS", 1)
    client = await gateway.client()
    await create(client, "a")
    await create(client, "b")
    assert (await client.ask("subscribe", group="a"))["ok"]
    assert (await client.ask("subscribe", group="b"))["error"]["code"] == "too_many_groups"
    assert (await client.ask("subscribe", group="a"))["ok"]


async def test_a_reader_that_is_too_slow_is_closed_and_others_are_not(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox.Outbox, "live_limit_bytes", 200_000)
    client = await gateway.client()
    await create(client)
    slow, quick = await gateway.client(), await gateway.client()
    await slow.ask("subscribe", group="g")
    await quick.ask("subscribe", group="g")
    transport = slow.socket._response.connection.transport  # type: ignore[union-attr]
    transport.pause_reading()  # type: ignore[union-attr]
    for i in range(400):
        assert (await client.ask("send", group="g", text="x" * 10_000, client_msg_id=str(i)))["ok"]
        assert await quick.seqs(1) == [i + 2]
    transport.resume_reading()  # type: ignore[union-attr]
    assert await slow.closed() == 4408
    seqs = [frame["seq"] for frame in slow.others]
    assert seqs == list(range(2, len(seqs) + 2))
    assert len(seqs) < 400


async def test_a_replay_is_read_at_the_readers_pace_and_never_counts(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox.Outbox, "live_limit_bytes", 200_000)
    client = await gateway.client()
    await create(client)
    for i in range(300):
        await client.ask("send", group="g", text="x" * 10_000, client_msg_id=str(i))
    slow = await gateway.client()
    world.page = 20
    transport = slow.socket._response.connection.transport  # type: ignore[union-attr]
    await slow.start("subscribe", group="g", after=0)
    transport.pause_reading()  # type: ignore[union-attr]
    while len(world.reads) < 2:
        await asyncio.sleep(0)
    for i in range(50):
        await client.ask("send", group="g", text="x" * 10_000, client_msg_id=f"later {i}")
    transport.resume_reading()  # type: ignore[union-attr]
    assert (await slow.next())["ok"]
    assert await slow.seqs(351) == list(range(1, 352))


async def test_a_drain_says_bye_and_closes_with_1001(gateway: Gateway) -> None:
    client = await gateway.client()
    draining = asyncio.create_task(gateway.sessions.drain(WITHIN_S))
    bye = await client.next()
    assert (bye["type"], bye["reconnect_after_ms"] >= 0) == ("bye", True)
    assert await client.closed() == 1001
    await draining
    assert len(gateway.sessions) == 0


async def test_a_socket_that_ends_leaves_nothing_behind(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    await client.ask("subscribe", group="g")
    await client.socket.close()
    while len(gateway.sessions):
        await asyncio.sleep(0)
    assert not world.hub.follows(b"g")


async def test_first_frame_authentication_replies_and_then_says_hello(gateway: Gateway) -> None:
    client = await gateway.connect("")
    early = await client.ask("ping")
    assert early["error"]["code"] == "unauthorized"
    number = await client.start("auth", token=token("carol"))
    assert await client.next() == {"type": "reply", "id": number, "ok": True}
    assert (await client.next())["user"] == "carol"


@pytest.mark.parametrize("early", ["ping", "send", "create_group", "subscribe", "nonsense"])
async def test_a_request_before_hello_is_unauthorized_and_the_socket_stays(
    gateway: Gateway, world: World, early: str
) -> None:
    client = await gateway.connect("")
    for _ in range(5):
        reply = await client.ask(early, group="g", name="G")
        assert (reply["error"]["code"], reply["error"]["temporary"]) == ("unauthorized", False)
    assert (await client.ask("auth", token=token("carol")))["ok"]
    assert (await client.next())["user"] == "carol"
    assert world.commands == world.reads == []


@pytest.mark.parametrize("bad", [{}, {"token": 5}, {"token": None}, {"token": ["a"]}])
async def test_an_auth_frame_without_a_token_is_invalid_and_the_socket_stays(
    gateway: Gateway, bad: dict[str, Any]
) -> None:
    client = await gateway.connect("")
    reply = await client.ask("auth", **bad)
    assert (reply["error"]["code"], reply["error"]["field"]) == ("invalid", "token")
    assert (await client.ask("auth", token=token("carol")))["ok"]


async def test_a_token_of_60_kib_is_refused_like_any_other(gateway: Gateway) -> None:
    client = await gateway.connect("")
    assert (await client.ask("auth", token="a." * 30_000))["error"]["code"] == "unauthorized"
    assert await client.closed() == 4501


@pytest.mark.parametrize(
    ("bad", "code"),
    [("nonsense", 4501), (token(lives_s=-60), 4401), (token(user=" x", lives_s=86_400), 4501)],
)
async def test_a_bad_first_token_is_refused_and_closes(gateway: Gateway, bad: str, code: int) -> None:
    client = await gateway.connect("")
    reply = await client.ask("auth", token=bad)
    assert (reply["error"]["code"], reply["error"]["temporary"]) == ("unauthorized", False)
    assert await client.closed() == code


async def test_who_does_not_authenticate_in_time_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.session.AUTHENTICATE_S", 0.05)
    client = await gateway.connect("")
    assert await client.closed() == 4501


@pytest.mark.parametrize(("later", "code"), [("bob", 4501), ("nonsense", 4501), ("expired", 4401), ("revoked", 4510)])
async def test_a_later_token_that_does_not_hold_closes_the_socket(
    gateway: Gateway, world: World, later: str, code: int
) -> None:
    now = time.time()
    world.admissions.revoke([Revocation("alice", now - 10)])
    tokens = {"expired": token(lives_s=-60), "revoked": token(iat=now - 20), "bob": token("bob"), "nonsense": "x"}
    client = await gateway.client("alice")
    assert (await client.ask("auth", token=token("alice", iat=now)))["ok"]
    assert (await client.ask("auth", token=tokens[later]))["error"]["code"] == "unauthorized"
    assert await client.closed() == code


async def test_a_revoked_token_opens_nothing(world: World) -> None:
    world.admissions.revoke([Revocation("alice", time.time())])
    async with running(world, auth="jwt") as gateway:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await gateway.connect("", token=token(iat=time.time() - 5))
        assert refused.value.status == 401
        client = await gateway.connect("")
        assert (await client.ask("auth", token=token()))["error"]["code"] == "unauthorized"  # it does not say when
        assert await client.closed() == 4501
        stays = await gateway.connect("", token=token(iat=time.time() + 1))
        assert (await stays.next())["type"] == "hello"
        await stays.socket.close()


async def test_a_revocation_closes_each_socket_of_the_user_and_tells_nobody_else(
    gateway: Gateway, world: World
) -> None:
    alices = [await gateway.client("alice") for _ in range(3)]
    bob = await gateway.client("bob")
    record = Record(topics.REVOCATIONS, 0, 0, b"alice", encode_revocation(time.time()))
    world.intake.take([record])
    assert [await alice.closed() for alice in alices] == [4510] * 3
    assert (await bob.ask("ping"))["ok"]
    while len(world.admissions) > 1:
        await asyncio.sleep(0)


async def test_a_fresh_token_can_shorten_a_sockets_life_too(world: World) -> None:
    async with running(world, auth="jwt") as gateway:
        client = await gateway.connect("", token=token(lives_s=3_600))
        assert (await client.next())["type"] == "hello"
        assert (await client.ask("auth", token=token(lives_s=60)))["ok"]
        world.now += 120
        assert await client.closed() == 4401


async def test_a_token_that_expires_closes_the_socket_unless_a_fresh_one_came(world: World) -> None:
    async with running(world, auth="jwt") as gateway:
        ends = await gateway.connect("", token=token(lives_s=60))
        stays = await gateway.connect("", token=token(lives_s=60))
        assert (await stays.next())["type"] == (await ends.next())["type"] == "hello"
        assert (await stays.ask("auth", token=token(lives_s=3_600)))["ok"]
        world.now += 120
        assert await ends.closed() == 4401
        assert (await stays.ask("ping"))["ok"]
        await stays.socket.close()


@pytest.mark.parametrize(
    ("query", "header"),
    [("?user=alice", None), ("", "Bearer nonsense"), ("", "Basic abc"), ("", f"Bearer {token(lives_s=-60)}")],
)
async def test_a_bad_handshake_is_refused_with_401(world: World, query: str, header: str | None) -> None:
    async with running(world, auth="jwt") as gateway:
        headers = {"Authorization": header} if header is not None else {}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(f"{gateway.url}/v1/ws{query}", headers=headers)
        assert refused.value.status == 401


async def test_a_gateway_that_does_not_read_the_log_opens_no_socket(gateway: Gateway) -> None:
    gateway.waiting.append("the consumer's assignment")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.connect()
    assert refused.value.status == 503
