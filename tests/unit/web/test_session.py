"""One socket, over a real connection: what the protocol says of it, without a broker."""

import asyncio

import aiohttp
import pytest

from app.kafka.producer import QueueFullError
from tests.contract.client import WITHIN_S
from tests.unit.web.asking import create
from tests.unit.web.world import LOG_ID, REQUEST_TIMEOUT_S, Gateway, World
from web.session import SILENT_S


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


async def test_a_gateway_that_does_not_read_the_log_opens_no_socket(gateway: Gateway) -> None:
    gateway.waiting.append("the consumer's assignment")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.connect()
    assert refused.value.status == 503
