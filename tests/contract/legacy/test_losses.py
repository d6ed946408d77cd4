"""Old sockets beside silence, slowness, a processor's death and a gateway's end (protocol §8)."""

import asyncio
import signal
import socket
from contextlib import suppress

import aiohttp

from tests.contract.legacy.doors import Doors, Enter, NewGroup, Open, begin, post
from tests.support.old_app import CONNECTED, DISCONNECTED, WITHIN_S, OldApp, address
from tests.support.stack import MakeStack, Stack
from tests.support.until import until_answer


async def test_a_second_of_silence_brings_a_ping(
    stack: Stack, http: aiohttp.ClientSession, enter: Enter, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group)
    async with http.ws_connect(address(stack.legacy_port, group, "alice"), autoping=False) as socket:
        assert (await socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.TEXT
        for _ in range(2):
            ping = await socket.receive(timeout=WITHIN_S)
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
    failed = asyncio.create_task(slow.rest_once(carol, "bob"))
    while not slow.failed and sent < 10_000:
        await post(alice, group, *(f"{sent + n} {'x' * size}" for n in range(100)))
        sent += 100
    frames, code = await failed
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
        self.failed = False

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
        async with asyncio.timeout(WITHIN_S):
            while CONNECTED.encode() not in self._data:
                self._data += await loop.sock_recv(self._socket, 4_096)
        assert b" 101 " in self._data
        self._data = b""

    async def rest_once(self, other: OldApp, user: str) -> tuple[int, int | None]:
        """`rest`, as soon as another one is told that this one is gone: the gateway waits for a reader some seconds."""
        await other.about(user, DISCONNECTED)
        self.failed = True
        return await self.rest()

    async def rest(self) -> tuple[int, int | None]:
        """How many whole frames came, and the code of the CLOSE behind them."""
        loop = asyncio.get_running_loop()
        with self._socket:
            async with asyncio.timeout(WITHIN_S):
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
    async def both_are_known() -> bool:
        return sorted((await alice.ask("presence", group="g"))["online"]) == ["bob", "carol"]

    await until_answer(both_are_known)
    await bob.say("end")
    for app, seen in zip(apps, told, strict=True):
        assert (await app.next())[:2] == ("bob", "end")
        assert len(app.seen) == len(seen) + 4

    # A gateway that drains posts what it has received, and says that it goes. It posts one after the other and has some
    # seconds for all: few enough for a slow machine, and more than are posted before the signal.
    socket = (await doors.open(service, "g", "bob", autoping=False)).socket
    sent = [f"last {n}" for n in range(10)]
    for text in sent:
        await socket.send_str(text)
    await socket.ping(b"read")
    while (message := await socket.receive(timeout=WITHIN_S)).type is not aiohttp.WSMsgType.PONG:
        assert message.type is not aiohttp.WSMsgType.CLOSE
    service.kill("gateway-0", signal.SIGTERM)
    while (await socket.receive(timeout=WITHIN_S)).type is not aiohttp.WSMsgType.CLOSE:
        pass
    assert socket.close_code == 1001
    assert [await carol.text() for _ in sent] == sent
    assert ("carol", DISCONNECTED) not in carol.seen
