"""The replaced service's WebSocket (protocol §8): real gateways, processors, broker, and apps as strict as the old."""

import asyncio
import itertools
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.contract.client import Client
from tests.support.old_app import OldApp, address
from tests.support.stack import MakeStack, Stack

CONNECTED, DISCONNECTED = "client connected to the group", "client disconnected from the group"
JOINED, LEFT = "client joined the group", "client leaved the group"

NewGroup = Callable[[], str]
Enter = Callable[..., Awaitable[Client]]
Open = Callable[..., Awaitable[OldApp]]

keys = itertools.count()


class Doors:
    """Opens sockets of both kinds, and closes them."""

    def __init__(self, http: aiohttp.ClientSession, opened: AsyncExitStack) -> None:
        self._http = http
        self._opened = opened

    async def enter(self, service: Stack, user: str, gateway: int = 0) -> Client:
        """A socket of the new protocol; hello is read already."""
        url = service.ws_url(gateway, user)
        client = Client(await self._opened.enter_async_context(self._http.ws_connect(url, max_msg_size=2**20)))
        assert (await client.next())["type"] == "hello"
        return client

    async def open(self, service: Stack, group: str, user: str, gateway: int = 0, **options: Any) -> OldApp:
        """An old app's socket; nothing is read."""
        url = address(service.legacy_port + gateway, group, user)
        return OldApp(await self._opened.enter_async_context(self._http.ws_connect(url, **options)), group)


@pytest.fixture
async def doors(http: aiohttp.ClientSession) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as opened:
        yield Doors(http, opened)


@pytest.fixture
def enter(stack: Stack, doors: Doors) -> Enter:
    """`await enter(user, gateway)`: a socket of the new protocol."""
    return lambda user, gateway=0: doors.enter(stack, user, gateway)


@pytest.fixture
def connect(stack: Stack, doors: Doors) -> Open:
    """`await connect(group, user, gateway)`: an old app's socket."""
    return lambda group, user, gateway=0, **options: doors.open(stack, group, user, gateway, **options)


@pytest.fixture
def member(connect: Open) -> Open:
    """As `connect`; it has read that it is connected."""

    async def open_one(group: str, user: str, gateway: int = 0) -> OldApp:
        app = await connect(group, user, gateway)
        assert await app.next() == (user, CONNECTED)
        return app

    return open_one


async def begin(client: Client, group: str, *members: str) -> None:
    reply = await client.ask("create_group", group=group, name="G", members=[{"user": user} for user in members])
    assert reply["ok"], reply


async def post(client: Client, group: str, *texts: str) -> list[dict[str, Any]]:
    """Post messages, pipelined; the replies."""
    numbers = [await client.start("send", group=group, text=text, client_msg_id=f"key {next(keys)}") for text in texts]
    return [await client.reply(number) for number in numbers]


async def test_members_of_either_kind_see_the_same_messages_in_the_same_order(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group, dice, each = new_group(), Random(8), 120
    alice, bob = await enter("alice", 0), await enter("bob", 1)
    await begin(alice, group, "bob", "carol", "dave")
    for client in (alice, bob):
        assert (await client.ask("subscribe", group=group, after=1))["ok"]
    old = [await member(group, "carol", 0), await member(group, "dave", 1)]

    async def write(send: Callable[[str], Awaitable[Any]], name: str, seed: int) -> None:
        own = Random(seed)
        for n in range(each):
            await send(f"{name} {n} {'é' * own.randrange(200)}")
            if own.random() < 0.3:
                await asyncio.sleep(0)

    async def events(client: Client) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        while len(found) < 4 * each:
            frame = client.others.pop(0) if client.others else await client.next()
            if frame.get("kind") == "message.posted":
                found.append((frame["by"], frame["data"]["text"], frame["at"]))
        return found

    async def told(app: OldApp) -> list[Any]:
        while sum(len(each) == 3 for each in app.seen) < 4 * each:
            await app.next()
        return [told for told in app.seen if len(told) == 3]

    reading = [asyncio.create_task(told(app)) for app in old]
    writers: list[Any] = [
        write(lambda text: post(alice, group, text), "a", dice.randrange(99)),
        write(lambda text: post(bob, group, text), "b", dice.randrange(99)),
        *(write(app.say, name, dice.randrange(99)) for app, name in zip(old, "cd", strict=True)),
    ]
    await asyncio.gather(*writers)
    seen = [await each for each in reading]
    assert seen[0] == seen[1] == await events(alice) == await events(bob)
    for user in ("alice", "bob", "carol", "dave"):  # in the order of each sender, each once
        assert [int(text.split()[1]) for by, text, _ in seen[0] if by == user] == list(range(each))


async def test_a_message_has_the_same_instant_live_and_in_history(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group)
    app = await member(group, "alice", 0)
    await app.say("x")
    told = await app.next()
    [message] = (await alice.ask("history", group=group))["messages"]
    assert told == (message["by"], message["text"], message["at"])


@pytest.mark.parametrize("gateway", [0, 1])
async def test_who_is_no_member_is_accepted_and_closed_with_1008(
    gateway: int, enter: Enter, connect: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "mallory")
    assert (await alice.ask("remove_member", group=group, user="mallory", ban=True))["ok"]
    for name, user in ((group, "eve"), (group, "mallory"), (new_group(), "alice")):
        app = await connect(name, user, gateway)
        assert await app.closed() == 1008
        assert app.seen == []
    assert (await alice.ask("subscribe", group=new_group()))["error"]["code"] == "no_such_group"


async def test_the_removed_get_what_came_before_and_1008_and_so_do_all_when_the_group_ends(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    bob, carol = await member(group, "bob", 0), await member(group, "carol", 1)
    await post(alice, group, "before")
    assert (await alice.ask("remove_member", group=group, user="bob"))["ok"]
    await post(alice, group, "after")
    assert await bob.closed() == 1008
    assert [told[1] for told in bob.seen if len(told) == 3] == ["before"]
    assert bob.seen[-1] == ("bob", LEFT)
    assert [await carol.text(), await carol.text()] == ["before", "after"]
    assert ("bob", LEFT) in carol.seen
    assert (await alice.ask("add_member", group=group, user="bob"))["ok"]
    await carol.about("bob", JOINED)
    assert (await alice.ask("delete_group", group=group))["ok"]
    assert await carol.closed() == 1008


async def test_who_comes_and_goes_is_told_to_old_sockets_at_every_gateway(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    bob = await member(group, "bob", 0)
    carol = await member(group, "carol", 1)
    await bob.about("carol", CONNECTED)
    assert (await alice.ask("subscribe", group=group))["ok"]
    for app in (bob, carol):
        await app.about("alice", CONNECTED)
    assert (await alice.ask("unsubscribe", group=group))["ok"]
    for app in (bob, carol):
        await app.about("alice", DISCONNECTED)
    await carol.socket.close()
    await bob.about("carol", DISCONNECTED)
    assert bob.seen == [
        ("bob", CONNECTED),
        ("carol", CONNECTED),
        ("alice", CONNECTED),
        ("alice", DISCONNECTED),
        ("carol", DISCONNECTED),
    ]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_a_second_connection_replaces_the_first_and_its_end_is_told_to_nobody(
    gateway: int, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    carol = await member(group, "carol", 1)
    first = await member(group, "bob", 0)
    await carol.about("bob", CONNECTED)
    second = await member(group, "bob", gateway)
    await carol.about("bob", CONNECTED)
    assert await first.closed() == 1000
    await post(alice, group, "to one")
    assert await second.text() == "to one"
    assert [told for told in first.seen if len(told) == 3] == []
    await second.socket.close()
    await carol.about("bob", DISCONNECTED)
    assert [told for told in carol.seen if told[0] == "bob"] == [
        ("bob", CONNECTED),
        ("bob", CONNECTED),
        ("bob", DISCONNECTED),
    ]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_each_connection_is_told_once_however_soon_the_next_one_comes(
    gateway: int, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol", "dave")
    carol = await member(group, "carol", gateway)
    dave, _, bob = [await member(group, user, 0) for user in ("dave", "bob", "bob")]
    await carol.about("bob", CONNECTED)
    await carol.about("bob", CONNECTED)
    await bob.socket.close()
    await carol.about("bob", DISCONNECTED)
    assert sorted(carol.seen[1:]) == [
        ("bob", CONNECTED),
        ("bob", CONNECTED),
        ("bob", DISCONNECTED),
        ("dave", CONNECTED),
    ]
    await dave.socket.close()


async def test_of_two_connections_opened_at_once_at_two_gateways_one_stays(
    enter: Enter, connect: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob")
    both = await asyncio.gather(connect(group, "bob", 0), connect(group, "bob", 1))
    closing = [asyncio.create_task(app.closed()) for app in both]
    done, [stays] = await asyncio.wait(closing, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [1000]
    await post(alice, group, "x")
    app = both[closing.index(stays)]
    async with asyncio.timeout(20):
        while app.seen[-1:] == [] or app.seen[-1][1] != "x":
            await asyncio.sleep(0.02)
    stays.cancel()


async def test_one_who_is_online_on_a_new_socket_gets_the_own_connected_and_does_not_lose_the_new_socket(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group, "bob")
    assert (await alice.ask("subscribe", group=group))["ok"]
    bob = await member(group, "bob", 0)
    app = await member(group, "alice", 0)
    await bob.about("alice", CONNECTED)
    await app.say("x")
    await alice.reply(await alice.start("ping"))
    while not any(frame.get("kind") == "message.posted" for frame in alice.others):
        alice.others.append(await alice.next())
    await app.socket.close()
    await post(alice, group, "last")
    assert await bob.text() == "x"
    assert await bob.text() == "last"
    assert ("alice", DISCONNECTED) not in bob.seen


async def test_joining_and_leaving_are_told_about_the_member(enter: Enter, member: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice, dave = await enter("alice"), await enter("dave", 1)
    await begin(alice, group)
    app = await member(group, "alice", 1)
    assert (await alice.ask("add_member", group=group, user="dave"))["ok"]
    assert (await dave.ask("leave", group=group))["ok"]
    assert (await alice.ask("update_group", group=group, name="H"))["ok"]
    assert [await app.next(), await app.next()] == [("dave", JOINED), ("dave", LEFT)]
    await app.say("x")
    assert (await app.next())[:2] == ("alice", "x")


async def test_messages_are_taken_literally_whole_and_in_order(enter: Enter, member: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group)
    app = await member(group, "alice", 0)
    texts = [
        '{"type":"send"}',
        '["NewMessage",[]]',
        " ",
        "null",
        "ping",
        "é\u2028😀",
        "x" * 16_384,
        *map(str, range(40)),
    ]
    await app.socket.send_bytes(b"ignored")
    await app.say("", *texts)
    writer = app.socket._writer
    assert writer is not None
    for first, payload in ((0x01, b"in "), (0x89, b""), (0x00, b"three "), (0x80, b"parts")):
        writer.transport.write(bytes((first, 0x80 | len(payload))) + bytes(4) + payload)
    assert [await app.text() for _ in range(len(texts) + 1)] == [*texts, "in three parts"]


async def test_what_is_received_before_the_close_is_posted(enter: Enter, connect: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group)
    assert (await alice.ask("subscribe", group=group))["ok"]
    app = await connect(group, "alice", 0)
    await app.say(*(str(n) for n in range(200)))
    await app.socket.close()
    found: list[str] = []
    while len(found) < 200:
        frame = await alice.next()
        if frame.get("kind") == "message.posted":
            found.append(frame["data"]["text"])
    assert found == [str(n) for n in range(200)]


@pytest.mark.parametrize(
    "name", ["a/b", "100%", "a%2Fb", "a+b c", "é", "e\u0301", "👩\u200d👩\u200d👧", "?&#=;", '"\\']
)
async def test_hostile_ids_reach_the_group(name: str, enter: Enter, member: Open, new_group: NewGroup) -> None:
    group, user = f"{name} {new_group()}", f"{name}'s"
    alice = await enter("alice", 1)
    await begin(alice, group, user)
    app = await member(group, user, 0)
    await app.say(name)
    assert (await app.next())[:2] == (user, name)


async def test_what_a_reader_sends_is_dropped(
    stack: Stack, http: aiohttp.ClientSession, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob")
    assert (await alice.ask("set_role", group=group, user="bob", role="reader"))["ok"]
    bob = await member(group, "bob", 1)

    async def refused() -> bool:
        async with http.get(f"{stack.http_url(1)}/metrics") as response:
            return 'legacy_messages_total{fate="refused"} 1.0' in await response.text()

    await bob.say("unheard")
    async with asyncio.timeout(20):
        while not await refused():
            await asyncio.sleep(0.05)
    assert (await alice.ask("set_role", group=group, user="bob", role="member"))["ok"]
    await bob.say("heard")
    assert await bob.text() == "heard"


async def test_a_second_of_silence_brings_a_ping(
    stack: Stack, http: aiohttp.ClientSession, enter: Enter, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group)
    async with http.ws_connect(address(stack.legacy_port, group, "alice"), autoping=False) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
        for _ in range(2):
            ping = await socket.receive(timeout=15)
            assert ping.type is aiohttp.WSMsgType.PING
            await socket.pong(ping.data)


async def test_a_thousand_waiting_messages_fail_the_slow_and_nobody_else(
    stack: Stack, http: aiohttp.ClientSession, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group, size = new_group(), 3_000
    alice = await enter("alice", 1)
    await begin(alice, group, "bob", "carol")
    carol = await member(group, "carol", 0)
    slow = Slow(stack.legacy_port, group, "bob")
    await slow.connected()
    await carol.about("bob", CONNECTED)
    sent = 0
    gone = asyncio.create_task(carol.about("bob", DISCONNECTED))
    while not gone.done() and sent < 10_000:
        await post(alice, group, *(f"{sent + n} {'x' * size}" for n in range(100)))
        sent += 100
    await asyncio.wait_for(gone, 20)
    frames, code = await slow.rest()
    assert code == 1011
    assert frames < sent
    await post(alice, group, "end")
    while await carol.text() != "end":
        pass
    said = [told[1].split()[0] for told in carol.seen if len(told) == 3]
    assert said == [*map(str, range(sent)), "end"]


class Slow:
    """A socket that reads nothing until it is asked for the rest: the kernel holds as little for it as it can."""

    def __init__(self, port: int, group: str, user: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.setblocking(False)
        self._port = port
        self._target = address(port, group, user).raw_path_qs
        self._data = b""

    async def connected(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        lines = [
            f"GET {self._target} HTTP/1.1",
            "Host: x",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        await loop.sock_sendall(self._socket, "\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(20):
            while CONNECTED.encode() not in self._data:
                self._data += await loop.sock_recv(self._socket, 4_096)
        assert b" 101 " in self._data
        self._data = b""

    async def rest(self) -> tuple[int, int | None]:
        """How many whole frames came, and the code of the CLOSE behind them."""
        loop = asyncio.get_running_loop()
        with self._socket:
            async with asyncio.timeout(20):
                with suppress(ConnectionResetError):
                    while chunk := await loop.sock_recv(self._socket, 65_536):
                        self._data += chunk
        at = frames = 0
        while at + 2 <= len(self._data):
            first, size, at = self._data[at], self._data[at + 1], at + 2
            if size == 126:
                size, at = int.from_bytes(self._data[at : at + 2], "big"), at + 2
            if first == 0x88:
                return frames, int.from_bytes(self._data[at : at + 2], "big")
            at += size
            frames += 1
        return frames, None


async def test_the_processors_death_sends_no_old_frame_again_and_announces_nobody(
    make_stack: MakeStack, doors: Doors
) -> None:
    service = make_stack(processors=1, gateways=2, partitions=2, settings={"AUERBACH_LEGACY": "1"})
    alice = await doors.enter(service, "alice")
    await begin(alice, "g", "bob", "carol")
    apps = []
    for gateway, user in enumerate(("bob", "carol")):
        apps.append(await doors.open(service, "g", user, gateway))
        assert await apps[-1].next() == (user, CONNECTED)
    bob, carol = apps
    await bob.about("carol", CONNECTED)
    await bob.say("before")
    assert [await app.text() for app in apps] == ["before"] * 2
    told = [list(app.seen) for app in apps]

    pid = service.kill("processor-0")
    await carol.say("meanwhile", "and after it")
    await asyncio.to_thread(service.wait_restarted, "processor-0", pid)
    await bob.say("after")
    for app, seen in zip(apps, told, strict=True):
        texts = {await app.text() for _ in range(3)}
        assert texts == {"meanwhile", "and after it", "after"}
        assert len(app.seen) == len(seen) + 3
    # The new owner has heard of both again: nobody is left of whom it does not know.
    async with asyncio.timeout(30):
        while sorted((await alice.ask("presence", group="g"))["online"]) != ["bob", "carol"]:
            await asyncio.sleep(0.05)
    await bob.say("end")
    for app, seen in zip(apps, told, strict=True):
        assert (await app.next())[:2] == ("bob", "end")
        assert len(app.seen) == len(seen) + 4

    # A gateway that drains posts what it has received, and says that it goes.
    socket = (await doors.open(service, "g", "bob", autoping=False)).socket
    sent = [f"last {n}" for n in range(50)]
    for text in sent:
        await socket.send_str(text)
    await socket.ping(b"read")
    while (message := await socket.receive(timeout=20)).type is not aiohttp.WSMsgType.PONG:
        assert message.type is not aiohttp.WSMsgType.CLOSE
    service.kill("gateway-0", signal.SIGTERM)
    while (await socket.receive(timeout=20)).type is not aiohttp.WSMsgType.CLOSE:
        pass
    assert socket.close_code == 1001
    assert [await carol.text() for _ in sent] == sent
    assert ("carol", DISCONNECTED) not in carol.seen
