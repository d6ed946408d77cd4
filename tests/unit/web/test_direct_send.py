"""Members who pause, reset, ask and change their minds, while large and small events are sent past the transports.

Each reads a raw stream: what comes in the middle of a frame, twice, too late or after a CLOSE is seen at once.
"""

import asyncio
import contextlib
import itertools
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from app.domain.commands import CreateGroup, MemberSpec, Send
from tests.support.until import until
from tests.unit.web.world import Gateway, World, running
from web import followers, http, hub, metrics

GROUPS = ("g", "h", "i")
USERS = tuple(f"u{number}" for number in range(10))
STEPS = 150
WITHIN_S = 60
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


class Member:
    """A member's end of a socket, as far as it was read, and checked as it is read."""

    def __init__(self, user: str, connection: socket.socket, dice: random.Random) -> None:
        self.user = user
        self.next: dict[str, int] = {}  # the seq that comes next in each group that is followed
        self.code: int | None = None
        self.reading = asyncio.Event()
        self._connection = connection
        self._dice = dice
        self._asked: dict[int, tuple[str, str]] = {}  # the type and the group of what is not answered
        self._numbers = itertools.count(1)
        self._unsent = b""
        self._unread = b""
        self._upgraded = False
        self._task = asyncio.create_task(self._read())
        self._task.add_done_callback(lambda _: connection.close())  # one that was reset at once never began to read

    @classmethod
    async def connected(cls, gateway: Gateway, user: str, dice: random.Random) -> "Member":
        """A member who has asked to follow all groups."""
        host, port = gateway.url.removeprefix("http://").split(":")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, dice.choice((32_768, 65_536)))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        member = cls(user, connection, dice)
        member._send(
            f"GET /v1/ws?user={user} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        for group in GROUPS:
            member.ask("subscribe", group=group, state=False)
        member.reading.set()
        return member

    def ask(self, kind: str, **fields: Any) -> None:
        number = next(self._numbers)
        self._asked[number] = (kind, fields.get("group", ""))
        self._say(TEXT, msgspec.json.encode({"type": kind, "id": number, **fields}))

    def act(self, heads: dict[str, int]) -> None:
        """Do something that a client may do."""
        group = self._dice.choice(GROUPS)
        after = max(0, heads[group] - self._dice.randrange(20))
        acts: list[tuple[int, Callable[[], object]]] = [
            (20, self.reading.clear),
            (30, self.reading.set),
            (10, lambda: self._say(PING, b"p" * self._dice.randrange(126))),
            (10, lambda: self.ask("ping")),
            (8, lambda: self.ask("subscribe", group=group, after=after)),
            (4, lambda: self.ask("unsubscribe", group=group)),
            (4, lambda: self.ask("state", group=group)),
            (4, lambda: self.ask("history", group=group, limit=50)),
            (1, lambda: self._say(TEXT, b"\xff")),
            (1, lambda: self._say(CLOSE, b"\x03\xe8")),
            (1, self.reset),
        ]
        self._dice.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    def reset(self) -> None:
        """End without a word."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._task.cancel()

    @property
    def ended(self) -> bool:
        """Whether the connection is over; raises what was wrong with what was read."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()
        return self._task.done()

    def has_all(self, heads: dict[str, int]) -> bool:
        """Whether it has got all that it asked for, or the connection is over."""
        self._send(b"")
        return self.ended or (not self._asked and all(seq == heads[group] + 1 for group, seq in self.next.items()))

    def _say(self, first: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._send(bytes((first,)) + length + bytes(4) + payload)

    def _send(self, data: bytes) -> None:
        self._unsent += data
        with contextlib.suppress(OSError):  # what does not leave now leaves later, or never
            self._unsent = self._unsent[self._connection.send(self._unsent) :]

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                await self.reading.wait()
                data = await loop.sock_recv(self._connection, self._dice.choice((7, 5_000, 65_536)))
                if not data:
                    return
                self._unread += data
                self._look()

    def _look(self) -> None:
        if not self._upgraded:
            head, found, rest = self._unread.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101")
            self._upgraded, self._unread = True, rest
        while (frame := self._frame()) is not None:
            self._take(*frame)

    def _frame(self) -> tuple[int, bytes] | None:
        head, start = self._unread[:10], 2
        if len(head) < 2:
            return None
        size = head[1]
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(head[2:start], "big")
        if len(self._unread) < start + size:
            return None
        frame = head[0], self._unread[start : start + size]
        self._unread = self._unread[start + size :]
        return frame

    def _take(self, first: int, payload: bytes) -> None:
        assert first in {TEXT, CLOSE, PING, PONG}
        assert self.code is None, "a frame after CLOSE"
        if first == CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            self._say(CLOSE, payload[:2])
        elif first == TEXT:
            told = msgspec.json.decode(payload)
            if told["type"] == "reply":
                self._on_reply(told)
            elif told["type"] == "event":
                assert told["seq"] == self.next[told["group"]]
                self.next[told["group"]] += 1

    def _on_reply(self, told: dict[str, Any]) -> None:
        kind, group = self._asked.pop(told["id"], ("", ""))
        if kind == "subscribe":
            self.next[group] = told["from"]
        elif kind == "unsubscribe":
            self.next.pop(group, None)


class Play:
    """A gateway, its members, and what is published."""

    def __init__(self, gateway: Gateway, dice: random.Random) -> None:
        self.gateway = gateway
        self.members: list[Member] = []
        self._dice = dice
        self._numbers = itertools.count()

    @property
    def heads(self) -> dict[str, int]:
        return {group: self.gateway.world.log.group(group).state.seq for group in GROUPS}

    def publish(self, count: int) -> None:
        """Append messages of any size to any groups, some of which the gateway reads together."""
        world = self.gateway.world
        for _ in range(count):
            number = str(next(self._numbers))
            size = self._dice.choice((1, self._dice.randrange(1, 300), self._dice.randrange(1, 16_000)))
            group = self._dice.choice(GROUPS)
            world.decide(Send(id=number, group=group, by="alice", text="x" * size, client_msg_id=number))
            if self._dice.random() < 0.3:
                world.deliver()
        if self._dice.random() < 0.8:
            world.deliver()

    async def step(self) -> None:
        self.members = [member for member in self.members if not member.ended]
        while len(self.members) < len(USERS):
            dice = random.Random(self._dice.random())
            self.members.append(await Member.connected(self.gateway, self._dice.choice(USERS), dice))
        self.publish(self._dice.choice((1, 1, 1, 2, 5, 20, 60)))
        for member in self.members:
            if self._dice.random() < 0.25:
                member.act(self.heads)
        for _ in range(self._dice.choice((0, 1, 1, 2, 5))):
            await asyncio.sleep(0)

    async def read_all(self) -> None:
        """Until each member has got everything."""
        self.gateway.world.deliver()
        for member in self.members:
            member.reading.set()
        await until(lambda: all(member.has_all(self.heads) for member in self.members), within_s=WITHIN_S)

    async def abort(self) -> None:
        """Cut everybody off, in the middle of more: what is lost is the end of a stream."""
        for session in list(self.gateway.sessions._due):
            session.abort()
            for _ in range(3):
                self.publish(3)

    async def drain(self) -> None:
        """Say bye to all, in the middle of more."""
        draining = asyncio.create_task(self.gateway.sessions.drain(WITHIN_S, spread_s=0.05))
        while not draining.done():
            self.publish(1)
            await asyncio.sleep(0.001)
        await draining


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("end", [Play.abort, Play.drain])
@pytest.mark.parametrize(("chunk", "buffer_bytes"), [(1, 4_608), (2, 16_384), (1_000, 65_536)])
def test_every_stream_is_whole_and_in_order_and_nothing_is_left_behind(
    chunk: int, buffer_bytes: int, end: Callable[[Play], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        world, slow = World(), metrics.SLOW_SOCKETS._value.get()
        async with running(world) as gateway:
            for group in GROUPS:
                members = tuple(MemberSpec(user) for user in USERS)
                world.decide(CreateGroup(id=group, group=group, by="alice", name=group, members=members))
            world.auto_deliver = False
            world.deliver()
            before = descriptors()
            play = Play(gateway, random.Random(chunk))
            for _ in range(STEPS):
                await play.step()
            await play.read_all()
            await until(lambda: metrics.SLOW_SOCKETS._value.get() == slow, within_s=WITHIN_S)
            await end(play)
            await until(lambda: all(member.ended for member in play.members), within_s=WITHIN_S)
            await until(lambda: len(gateway.sessions) == 0 and descriptors() <= before, within_s=WITHIN_S)
            assert not world.hub.held
            assert not any(world.hub.follows(group.encode()) for group in GROUPS)
            assert metrics.SLOW_SOCKETS._value.get() == slow

    monkeypatch.setattr(followers, "CHUNK", chunk)
    monkeypatch.setattr(hub, "PAUSE_S", 0)
    monkeypatch.setattr(http, "SEND_BUFFER_BYTES", buffer_bytes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
