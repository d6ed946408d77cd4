"""The protocol, asked of real gateways in front of real processors and a real broker."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.contract.client import WITHIN_S, Client
from tests.contract.conftest import Connect
from tests.support.stack import Stack

NewGroup = Callable[[], str]


async def create(client: Client, group: str, **fields: Any) -> None:
    reply = await client.ask("create_group", group=group, name="G", **fields)
    assert reply["ok"], reply


async def post(client: Client, group: str, count: int, prefix: str = "m") -> None:
    """Post `count` messages, pipelined."""
    numbers = [
        await client.start("send", group=group, text=f"{prefix}{i}", client_msg_id=f"{prefix}{i}") for i in range(count)
    ]
    for number in numbers:
        assert (await client.reply(number))["ok"]


async def test_gateways_serve_one_log(stack: Stack, http: aiohttp.ClientSession) -> None:
    hellos = []
    for gateway in range(2):
        async with http.ws_connect(stack.ws_url(gateway, "alice")) as socket:
            hellos.append(await Client(socket).next())
    assert hellos[0]["log"] == hellos[1]["log"]
    assert hellos[0]["session"] != hellos[1]["session"]


async def test_a_message_goes_from_socket_to_socket_across_gateways(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await create(alice, group, members=[{"user": "bob"}])
    assert (await bob.ask("subscribe", group=group))["seq"] == 1
    sent = await alice.ask("send", group=group, text="hé", client_msg_id="c", attributes={"a": [1]}, mentions=["bob"])
    event = await bob.next()
    assert event.pop("id")
    assert event == {
        "type": "event",
        "group": group,
        "seq": 2,
        "kind": "message.posted",
        "by": "alice",
        "at": sent["at"],
        "client_msg_id": "c",
        "data": {"text": "hé", "mentions": ["bob"], "attributes": {"a": [1]}},
    }


async def test_what_was_acknowledged_is_seen_by_the_next_read_at_the_other_gateway(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    await create(alice, group)
    for i in range(30):
        sent = await alice.ask("send", group=group, text=str(i), client_msg_id=str(i))
        page = await reader.ask("history", group=group, limit=1)
        assert page["messages"][0]["seq"] == sent["seq"]
        assert (await reader.ask("state", group=group))["state"]["seq"] == sent["seq"]


async def test_requests_of_one_socket_take_effect_in_the_order_sent(connect: Connect, new_group: NewGroup) -> None:
    for _ in range(5):
        group = new_group()
        alice, bob = await connect("alice", 0), await connect("bob", 1)
        await create(alice, group, join="open")
        numbers = [
            await bob.start("join", group=group),
            await bob.start("subscribe", group=group, last=1),
            await bob.start("send", group=group, text="x", client_msg_id="x"),
            await bob.start("history", group=group),
            await bob.start("leave", group=group),
            await bob.start("subscribe", group=group),
        ]
        joined, subscribed, sent, history, left, refused = [await bob.reply(number) for number in numbers]
        assert (joined["seq"], subscribed["seq"], sent["seq"], left["seq"]) == (2, 2, 3, 4)
        assert [message["seq"] for message in history["messages"]] == [3]
        assert refused["error"]["code"] == "not_a_member"
        assert [frame["seq"] for frame in bob.others] == [2, 3, 4]


async def test_a_key_that_is_used_at_both_gateways_at_once_has_one_effect(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    sockets = [await connect("alice", gateway) for gateway in (0, 1, 0, 1)]
    await create(sockets[0], group)
    for i in range(10):
        request = {"group": group, "text": "x", "client_msg_id": str(i)}
        replies = await asyncio.gather(*(socket.ask("send", **request) for socket in sockets))
        assert [(reply["ok"], reply["seq"]) for reply in replies] == [(True, i + 2)] * 4
        assert sorted(reply["duplicate"] for reply in replies) == [False, True, True, True]
        assert len({reply["at"] for reply in replies}) == 1


async def test_a_group_without_an_id_is_the_same_one_at_every_gateway(connect: Connect, new_group: NewGroup) -> None:
    alice, elsewhere, bob = await connect("alice", 0), await connect("alice", 1), await connect("bob", 1)
    key = new_group()
    first = await alice.ask("create_group", name="G", client_msg_id=key)
    again = await elsewhere.ask("create_group", name="G", client_msg_id=key)
    assert (again["group"], again["seq"], again["duplicate"]) == (first["group"], 1, True)
    assert (await elsewhere.ask("create_group", name="H", client_msg_id=key))["error"]["code"] == "conflict"
    assert (await bob.ask("create_group", name="G", client_msg_id=key))["group"] != first["group"]
    assert (await alice.ask("state", group=first["group"]))["state"]["members"][0]["user"] == "alice"


@pytest.mark.parametrize(
    ("user", "kind", "fields", "code"),
    [
        ("carol", "send", {"text": "x", "client_msg_id": "c"}, "not_a_member"),
        ("carol", "history", {}, "not_a_member"),
        ("carol", "state", {}, "not_a_member"),
        ("carol", "subscribe", {}, "not_a_member"),
        ("carol", "join", {}, "forbidden"),
        ("carol", "create_group", {"name": "G"}, "already_exists"),
        ("bob", "join", {}, "already_a_member"),
        ("bob", "add_member", {"user": "carol"}, "forbidden"),
        ("bob", "remove_member", {"user": "alice"}, "forbidden"),
        ("reader", "send", {"text": "x", "client_msg_id": "c"}, "forbidden"),
        ("alice", "leave", {}, "last_owner"),
        ("alice", "add_member", {"user": "bob"}, "already_a_member"),
        ("alice", "remove_member", {"user": "carol"}, "not_a_member"),
        ("alice", "remove_member", {"user": "alice"}, "invalid"),
        ("alice", "send", {"text": "x", "client_msg_id": "c", "reply_to": 1}, "no_such_message"),
        ("alice", "send", {"text": "x" * 16_385, "client_msg_id": "c"}, "too_large"),
    ],
)
async def test_refusals(
    connect: Connect, new_group: NewGroup, user: str, kind: str, fields: dict[str, Any], code: str
) -> None:
    group = new_group()
    alice, asker = await connect("alice"), await connect(user, 1)
    await create(alice, group, members=[{"user": "bob"}, {"user": "reader", "role": "reader"}])
    reply = await asker.ask(kind, group=group, **fields)
    assert (reply["ok"], reply["error"]["code"], reply["error"]["temporary"]) == (False, code, False)


@pytest.mark.parametrize("kind", ["send", "join", "leave", "history", "state", "subscribe"])
async def test_a_group_that_nobody_created_is_no_group(connect: Connect, new_group: NewGroup, kind: str) -> None:
    alice = await connect("alice")
    fields = {"text": "x", "client_msg_id": "c"} if kind == "send" else {}
    reply = await alice.ask(kind, group=new_group(), **fields)
    assert reply["error"]["code"] == "no_such_group"


async def test_the_banned_are_told_so_everywhere(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice"), await connect("bob", 1)
    await create(alice, group, join="open", members=[{"user": "bob"}])
    assert (await bob.ask("subscribe", group=group))["ok"]
    assert (await alice.ask("remove_member", group=group, user="bob", ban=True))["seq"] == 2
    assert (await bob.next())["data"] == {"user": "bob", "banned": True}
    await post(alice, group, 1)
    for kind in ("join", "history", "subscribe", "leave"):
        assert (await bob.ask(kind, group=group))["error"]["code"] == "banned"
    assert bob.others == []


async def test_history_is_paged_by_exclusive_bounds(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice")
    await create(alice, group)
    await post(alice, group, 7)

    async def page(**fields: Any) -> tuple[list[int], bool]:
        reply = await alice.ask("history", group=group, **fields)
        return [message["seq"] for message in reply["messages"]], reply["more"]

    assert await page() == ([2, 3, 4, 5, 6, 7, 8], False)
    assert await page(limit=3) == ([6, 7, 8], True)
    assert await page(before=6, limit=2) == ([4, 5], True)
    assert await page(before=4, limit=2) == ([2, 3], False)
    assert await page(after=6, limit=2) == ([7, 8], False)
    assert await page(after=2, limit=2) == ([3, 4], True)


async def test_subscriptions_begin_where_they_are_asked_to(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice")
    await create(alice, group)
    await post(alice, group, 4)
    log = (await connect("alice")).others  # nothing is subscribed by connecting
    assert log == []

    async def begin(**fields: Any) -> tuple[int, int, bool, list[int]]:
        reader = await connect("alice", 1)
        reply = await reader.ask("subscribe", group=group, state=False, **fields)
        assert "state" not in reply
        return reply["seq"], reply["from"], reply["recovered"], await reader.seqs(reply["seq"] + 1 - reply["from"])

    assert await begin() == (5, 6, True, [])
    assert await begin(after=2) == (5, 3, True, [3, 4, 5])
    assert await begin(after=0) == (5, 1, True, [1, 2, 3, 4, 5])
    assert await begin(after=5) == (5, 6, True, [])
    assert await begin(after=6) == (5, 6, False, [])
    assert await begin(after=2, log="another") == (5, 6, False, [])
    assert await begin(last=2) == (5, 4, True, [4, 5])
    assert await begin(last=0) == (5, 6, True, [])
    assert await begin(last=99) == (5, 1, True, [1, 2, 3, 4, 5])


async def test_what_was_sent_before_one_joined_is_withheld_where_the_group_says_so(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, bob = await connect("alice"), await connect("bob", 1)
    await create(alice, group, history="joined")
    await post(alice, group, 3)
    assert (await alice.ask("add_member", group=group, user="bob"))["seq"] == 5
    await post(alice, group, 1, "after")
    reply = await bob.ask("subscribe", group=group, after=0)
    assert (reply["seq"], reply["from"]) == (6, 1)
    assert await bob.next() == {"type": "withheld", "group": group, "from": 1, "through": 4}
    assert await bob.seqs(2) == [5, 6]
    assert [message["seq"] for message in (await bob.ask("history", group=group))["messages"]] == [6]


async def test_readers_who_come_and_go_end_with_byte_equal_logs(
    connect: Connect, stack: Stack, http: aiohttp.ClientSession, new_group: NewGroup
) -> None:
    group = new_group()
    messages = 400
    alice = await connect("alice")
    await create(alice, group)
    dice = random.Random(7)

    async def reader(gateway: int) -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < messages + 1:
            async with http.ws_connect(stack.ws_url(gateway, "alice")) as socket:
                until = len(frames) + dice.randrange(1, 120)  # then it is cut off
                client = Client(socket)
                await client.next()
                reply = await client.ask("subscribe", group=group, after=len(frames), state=False)
                assert (reply["recovered"], reply["from"]) == (True, len(frames) + 1)
                while len(frames) < min(until, messages + 1):
                    message = await socket.receive(timeout=WITHIN_S)
                    assert message.type is aiohttp.WSMsgType.TEXT, message
                    frames.append(message.data.encode())
        return frames

    logs, _ = await asyncio.gather(
        asyncio.gather(*(reader(gateway) for gateway in (0, 1, 0, 1))), post(alice, group, messages)
    )
    assert all(log == logs[0] for log in logs)
    assert [msgspec.json.decode(frame)["seq"] for frame in logs[0]] == list(range(1, messages + 2))


async def test_a_batch_resumes_many_groups_with_one_request(connect: Connect, new_group: NewGroup) -> None:
    alice, reader = await connect("alice"), await connect("alice", 1)
    groups = [new_group() for _ in range(20)]
    for group in groups:
        await create(alice, group)
        await post(alice, group, 3)
    items = [{"group": group, "after": 2} for group in groups]
    reply = await reader.ask("subscribe", groups=[*items, {"group": new_group()}])
    assert [result["ok"] for result in reply["results"]] == [True] * 20 + [False]
    assert [result["group"] for result in reply["results"][:20]] == groups
    got: dict[str, list[int]] = {}
    for _ in range(40):
        frame = await reader.next()
        got.setdefault(frame["group"], []).append(frame["seq"])
    assert got == {group: [3, 4] for group in groups}


async def test_the_gateway_is_ready_and_serves_the_page(stack: Stack, http: aiohttp.ClientSession) -> None:
    await asyncio.to_thread(stack.wait_ready)  # it says so again a while after a broker that kept silent
    for path, status in (("/healthz", 200), ("/metrics", 200), ("/", 200), ("/none", 404)):
        async with http.get(stack.http_url() + path) as response:
            assert response.status == status, path
