"""The traps of writing beneath aiohttp, on uvloop and real sockets as in a gateway (design §5)."""

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from aiohttp import web

from app.domain.commands import CreateGroup, MemberSpec, Send
from tests.unit.web.world import Gateway, World, running
from web.frames import text_frame
from web.http import SEND_BUFFER_BYTES
from web.outbox import LIVE_LIMIT_BYTES, WINDOW_BYTES
from web.session import Session

WITHIN_S = 20
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
RECEIVE_BUFFER_BYTES = 65_536

numbers = itertools.count()


def on_uvloop(run: Callable[[Gateway], Coroutine[Any, Any, None]]) -> None:
    """Run with a gateway whose group `g` has alice, bob and carol, on the loop that gateways have."""

    async def main() -> None:
        world = World()
        async with asyncio.timeout(3 * WITHIN_S), running(world) as gateway:
            members = tuple(MemberSpec(user) for user in ("bob", "carol"))
            world.decide(CreateGroup(id="create", group="g", by="alice", name="G", members=members))
            world.auto_deliver = False
            world.deliver()
            await run(gateway)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


class Wire:
    """A client's end of a socket, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def subscribed(cls, gateway: Gateway, user: str) -> "Wire":
        """A socket of `user` that follows `g`, of which nothing is left to read."""
        host, port = gateway.url.removeprefix("http://").split(":")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        wire = cls(*await asyncio.open_connection(sock=connection, limit=2**17))
        wire.writer.write(
            f"GET /v1/ws?user={user} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        await wire.reader.readuntil(b"\r\n\r\n")
        wire.send(TEXT, b'{"type":"subscribe","id":1,"group":"g","state":false}')
        await wire.frame()  # hello
        _, reply = await wire.frame()
        assert msgspec.json.decode(reply)["ok"]
        await asyncio.sleep(0)
        return wire

    def send(self, first: int, payload: bytes) -> None:
        """Send a frame, masked with zeros."""
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xff" + size.to_bytes(8, "big")
        self.writer.write(bytes((first,)) + length + bytes(4) + payload)

    async def frame(self) -> tuple[int, bytes]:
        """The first byte and the payload of the next frame."""
        first, size = await self.reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first, await self.reader.readexactly(size)

    async def seqs(self, count: int) -> list[int]:
        """The seqs of the next `count` events; what is told of presence in between is passed over."""
        found: list[int] = []
        while len(found) < count:
            frame = msgspec.json.decode((await self.frame())[1])
            if frame["type"] != "signal":
                found.append(frame["seq"])
        return found

    def reset(self) -> None:
        """End without a word, as a machine that has lost its power."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def post(world: World, text: str = "x") -> int:
    """Append a message and let the gateway read it at once; its seq."""
    world.decide(Send(id=f"c{next(numbers)}", group="g", by="alice", text=text, client_msg_id=f"m{next(numbers)}"))
    world.deliver()
    return world.log.group("g").state.seq


def session_of(gateway: Gateway, user: str) -> Session:
    (found,) = [s for s in gateway.sessions._due if s._conversation is not None and s._conversation.user == user]
    return found


def test_a_member_that_dies_in_the_middle_of_a_fan_out_harms_nobody() -> None:
    async def run(gateway: Gateway) -> None:
        wires = [await Wire.subscribed(gateway, user) for user in ("alice", "bob", "carol")]
        post(gateway.world)
        # uvloop raises for a transport that is closed while its session has not been told yet: in one of these turns.
        session_of(gateway, "bob").abort()
        for _ in range(10):
            post(gateway.world)
            await asyncio.sleep(0)
        assert await wires[0].seqs(11) == await wires[2].seqs(11) == list(range(2, 13))

    on_uvloop(run)


def test_a_member_whose_connection_is_reset_harms_nobody() -> None:
    async def run(gateway: Gateway) -> None:
        wires = [await Wire.subscribed(gateway, user) for user in ("alice", "bob", "carol")]
        wires[1].reset()
        for _ in range(50):
            post(gateway.world)
            await asyncio.sleep(0)
        assert await wires[0].seqs(50) == await wires[2].seqs(50) == list(range(2, 52))
        while len(gateway.sessions) > 2:
            await asyncio.sleep(0)
        assert not gateway.world.hub.held

    on_uvloop(run)


ENDS: dict[str, tuple[Callable[[Wire, Session], None], int]] = {
    "by the client": (lambda wire, _: wire.send(CLOSE, b"\x03\xe8"), 1000),
    "for a frame that is too large": (lambda wire, _: wire.send(TEXT, b"x" * 70_000), 1009),
    "for invalid UTF-8": (lambda wire, _: wire.send(TEXT, b"\xff"), 1007),
    "for malformed frames": (lambda wire, _: [wire.send(TEXT, b"x") for _ in range(3)] and None, 4400),
    "by the gateway": (lambda _, session: session.stop(4409), 4409),
    "for silence": (lambda _, session: session.beat(session._last_seen + 60), 1001),
}


@pytest.mark.parametrize("why", ENDS)
def test_nothing_is_written_after_a_close_however_it_comes(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[bool] = []

    async def run(gateway: Gateway) -> None:
        close = web.WebSocketResponse.close

        async def closing(response: web.WebSocketResponse, **options: Any) -> bool:
            followed.append(gateway.world.hub.follows(b"g"))
            return await close(response, **options)

        monkeypatch.setattr(web.WebSocketResponse, "close", closing)
        wire = await Wire.subscribed(gateway, "bob")
        act, code = ENDS[why]
        act(wire, session_of(gateway, "bob"))
        reading = asyncio.create_task(read_to_the_end(wire))
        while not reading.done():
            post(gateway.world)
            await asyncio.sleep(0.001)
        frames, rest = await reading
        assert (frames[-1][0], int.from_bytes(frames[-1][1][:2], "big")) == (CLOSE, code)
        assert rest == b""
        seqs = [msgspec.json.decode(payload).get("seq") for _, payload in frames[:-1]]
        events = [seq for seq in seqs if seq is not None]
        assert events == list(range(2, 2 + len(events)))

    on_uvloop(run)
    assert followed[0] is False  # even if it took a while from here: nobody writes any more


async def read_to_the_end(wire: Wire) -> tuple[list[tuple[int, bytes]], bytes]:
    """The frames up to a CLOSE, and what comes after it until the connection ends, while it is not answered."""
    frames: list[tuple[int, bytes]] = []
    while not frames or frames[-1][0] != CLOSE:
        frames.append(await wire.frame())
    rest = b""
    with contextlib.suppress(ConnectionResetError):  # it went with what it had not read of ours
        try:
            async with asyncio.timeout(0.2):
                while more := await wire.reader.read(65_536):
                    rest += more
        except TimeoutError:
            wire.send(CLOSE, frames[-1][1][:2])
            rest += await asyncio.wait_for(wire.reader.read(), WITHIN_S)
    wire.writer.close()
    return frames, rest


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])
def test_frames_are_what_aiohttp_would_send(size: int) -> None:
    payload = ("é" * (size // 2) + "x" * (size % 2)).encode()

    async def main() -> bytes:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            response = web.WebSocketResponse(compress=False)
            await response.prepare(request)
            await response.send_str(payload.decode())
            await response.receive()
            return response

        app = web.Application()
        app.router.add_get("/", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        sent = await asyncio.wait_for(reader.readexactly(len(text_frame(payload))), WITHIN_S)
        writer.close()
        await runner.cleanup()
        return sent

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == text_frame(payload)


def test_we_write_to_the_transport_that_aiohttp_writes_to() -> None:
    async def run(gateway: Gateway) -> None:
        await Wire.subscribed(gateway, "bob")
        session = session_of(gateway, "bob")
        assert session._socket._writer is not None
        assert session._transport is session._outbox.transport is session._socket._writer.transport

    on_uvloop(run)


def test_a_sockets_send_buffer_is_small() -> None:
    async def run(gateway: Gateway) -> None:
        await Wire.subscribed(gateway, "bob")
        connection = session_of(gateway, "bob")._transport.get_extra_info("socket")
        # Linux doubles what is asked for.
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER_BYTES

    on_uvloop(run)


MESSAGE_BYTES = 10_000


def test_who_reads_nothing_is_given_a_mebibyte_and_then_closed_while_the_others_get_all() -> None:
    async def run(gateway: Gateway) -> None:
        slow, quick = await Wire.subscribed(gateway, "bob"), await Wire.subscribed(gateway, "carol")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        session, last = session_of(gateway, "bob"), 1
        while session._code is None:
            last = post(gateway.world, "x" * MESSAGE_BYTES)
            assert await quick.seqs(1) == [last]
            waiting = session._outbox.backlog
            assert waiting <= LIVE_LIMIT_BYTES + WINDOW_BYTES + 2 * MESSAGE_BYTES
        # What the kernels and the client's own stream take in beside it.
        beside = 2 * SEND_BUFFER_BYTES + 4 * RECEIVE_BUFFER_BYTES + WINDOW_BYTES + 2**19
        assert LIVE_LIMIT_BYTES < last * MESSAGE_BYTES < LIVE_LIMIT_BYTES + beside
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        frames, rest = await read_to_the_end(slow)
        assert (int.from_bytes(frames[-1][1][:2], "big"), rest) == (4408, b"")
        told = [msgspec.json.decode(payload) for _, payload in frames[:-1]]
        seqs = [frame["seq"] for frame in told if frame["type"] != "signal"]  # of who came, if that was told in time
        assert seqs == list(range(2, 2 + len(seqs)))
        assert len(seqs) < last

    on_uvloop(run)


def test_who_reads_again_before_a_mebibyte_waits_has_lost_nothing_however_long_it_took() -> None:
    async def run(gateway: Gateway) -> None:
        slow = await Wire.subscribed(gateway, "bob")
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        session = session_of(gateway, "bob")
        last = 1
        while session._outbox.backlog < LIVE_LIMIT_BYTES - 2 * MESSAGE_BYTES:
            last = post(gateway.world, "x" * MESSAGE_BYTES)
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await slow.seqs(last - 1) == list(range(2, last + 1))
        assert session._code is None

    on_uvloop(run)


def test_a_batch_of_many_mebibytes_closes_nobody_who_reads() -> None:
    async def run(gateway: Gateway) -> None:
        wires = [await Wire.subscribed(gateway, user) for user in ("alice", "bob", "carol")]
        world = gateway.world
        for number in range(400):
            world.decide(Send(id=f"b{number}", group="g", by="alice", text="x" * 16_000, client_msg_id=f"b{number}"))
        world.deliver()
        got = await asyncio.gather(*(wire.seqs(400) for wire in wires))
        assert got == [list(range(2, 402))] * 3

    on_uvloop(run)


def test_a_reader_in_the_middle_of_others_that_stalls_gets_the_rest_in_order() -> None:
    async def run(gateway: Gateway) -> None:
        wires = [await Wire.subscribed(gateway, user) for user in ("alice", "bob", "carol")]
        for round_ in range(5):
            wires[1].writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(40):
                post(gateway.world, "x" * 8_000)
                await asyncio.sleep(0)
            wires[1].writer.transport.resume_reading()  # type: ignore[attr-defined]
            expected = list(range(2 + 40 * round_, 42 + 40 * round_))
            assert [await wire.seqs(40) for wire in wires] == [expected] * 3

    on_uvloop(run)


def test_a_second_descriptor_is_not_kept_however_a_socket_ends() -> None:
    def descriptors_of(inode: Path) -> int:
        found = 0
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += entry.readlink() == inode
        return found

    async def ended(gateway: Gateway, act: Callable[[Wire, Session], None]) -> int:
        """How many descriptors of a socket in front of its group are open while it lives; none is when this returns."""
        wire = await Wire.subscribed(gateway, "bob")
        seq = post(gateway.world)
        assert await wire.seqs(1) == [seq]
        session = session_of(gateway, "bob")
        inode = Path(f"/proc/self/fd/{session._transport.get_extra_info('socket').fileno()}").readlink()
        living = descriptors_of(inode)
        act(wire, session)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            await read_to_the_end(wire)
        async with asyncio.timeout(WITHIN_S):
            while descriptors_of(inode) or len(gateway.sessions):
                await asyncio.sleep(0.01)
        return living

    async def run(gateway: Gateway) -> None:
        assert [await ended(gateway, act) for act, _ in ENDS.values()] == [2] * len(ENDS)
        assert await ended(gateway, lambda wire, _: wire.reset()) == 2
        assert await ended(gateway, lambda _, session: session.abort()) == 2

    on_uvloop(run)


def test_a_frame_that_the_kernel_takes_a_part_of_is_whole_at_the_reader() -> None:
    async def run(gateway: Gateway) -> None:
        wires = [await Wire.subscribed(gateway, user) for user in ("alice", "bob", "carol")]
        wires[1].writer.transport.pause_reading()  # type: ignore[attr-defined]
        count = 0
        # Odd sizes, as fast as they come: the kernel's buffer ends in the middle of a frame, again and again.
        while not gateway.world.hub.held:
            post(gateway.world, "x" * (1 + 977 * count % 15_000))
            count += 1
            await asyncio.sleep(0)
        for _ in range(20):
            post(gateway.world, "y" * 333)
            session_of(gateway, "bob").beat(0)  # a ping in between
            count += 1
        wires[1].writer.transport.resume_reading()  # type: ignore[attr-defined]
        expected = list(range(2, 2 + count))
        got = await asyncio.gather(*(wire.seqs(count) for wire in (wires[0], wires[2])))
        assert got == [expected] * 2
        seqs = []
        while len(seqs) < count:
            first, payload = await wires[1].frame()
            assert first in {TEXT, PING}
            if first == TEXT and (seq := msgspec.json.decode(payload).get("seq")):
                seqs.append(seq)
        assert seqs == expected

    on_uvloop(run)
