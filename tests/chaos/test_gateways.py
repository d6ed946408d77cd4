"""Readers who are cut off and resume, at any gateway, while the service is disturbed: all see the log, byte for byte.

The order of the disturbances, and the moments and ways of the cuts, come from one seed, which is printed;
AUERBACH_CHAOS_SEED sets it.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from auerbach_client import Backoff, Client, Event

from app.kafka import topics
from app.reads import decode_owner
from tests.support.driver import Driver
from tests.support.stack import MakeStack, Stack
from tests.support.waiting import eventually

GROUPS = 3
WRITERS = 3
PAUSE_S = 0.02  # between a writer's messages: they are to last as long as the disturbances
IN_FLIGHT = 20
FRAMES_BEFORE_A_CUT = 30
ACKNOWLEDGED_BEFORE_A_BLOW = 100
DEADLINE_S = 400
WITHIN_S = 150
LAST = "the last one"
# What may end a socket: its reader, or a gateway that died, drained, or could not fetch what it lacked.
CODES = {None, 1000, 1001, 1006, 4409}


@dataclass
class Run:
    """One run: the dice that decide what happens, and what was seen."""

    stack: Stack
    dice: random.Random
    groups: list[str]
    log_id: str
    ended: bool = False  # the disturbances are over: writers come to their end
    acked: dict[str, tuple[str, int]] = field(default_factory=dict)  # by client_msg_id: group and seq
    answered: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    codes: Counter[int | None] = field(default_factory=Counter)

    def urls(self) -> list[str]:
        """The gateways, in any order."""
        return self.dice.sample([self.stack.http_url(0), self.stack.http_url(1)], 2)

    async def more(self) -> None:
        """Wait until the service has acknowledged some more: the next blow falls under load."""
        enough = len(self.acked) + ACKNOWLEDGED_BEFORE_A_BLOW
        await asyncio.to_thread(
            eventually, lambda: len(self.acked) >= enough, within_s=WITHIN_S, what="acknowledgements"
        )


def client(urls: list[str], user: str) -> Client:
    """Comes back at once, and waits for an outcome longer than any blow lasts on a slow machine."""
    soon = Backoff(0.05, 0.5)
    return Client(urls, user=user, reconnect=soon, connect_timeout_s=WITHIN_S, request_timeout_s=WITHIN_S)


async def write(run: Run, writer: int) -> None:
    """One user who posts in every group, until the disturbances are over, and waits for every outcome."""

    slots = asyncio.Semaphore(IN_FLIGHT)

    async def send(chat: Client, group: str, key: str) -> None:
        ack = await chat.send(group, key, client_msg_id=key)
        assert ack.seq is not None
        run.acked[key] = (group, ack.seq)
        slots.release()

    async with client(run.urls(), f"writer-{writer}") as chat:
        for group in run.groups:
            await chat.join(group)
        async with asyncio.TaskGroup() as sends:
            number = 0
            while not run.ended:
                await slots.acquire()
                sends.create_task(send(chat, run.groups[number % GROUPS], f"{writer}/{number}"))
                number += 1
                await asyncio.sleep(PAUSE_S)


class RawReader:
    """Follows a group on bare sockets that it cuts itself, up to the message `LAST`.

    `frames`: the bytes of each event as they came.
    """

    def __init__(self, run: Run, group: str) -> None:
        self.group = group
        self.frames: list[bytes] = []
        self._run = run
        self._dice = random.Random(run.dice.random())
        self._over = False

    async def read(self) -> None:
        """Until the last message is seen."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while not self._over:
                url = f"{self._dice.choice(self._run.urls())}/v1/ws?user=olga"
                try:
                    async with http.ws_connect(url, decode_text=False) as socket:
                        await self._follow(socket)
                    self._run.codes[socket.close_code] += 1
                except (aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.sleep(0.05)

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Resume, and read on until this reader's dice or the gateway end it."""
        until = len(self.frames) + self._dice.randrange(1, FRAMES_BEFORE_A_CUT)
        resume = {"group": self.group, "after": len(self.frames), "log": self._run.log_id, "state": False}
        await socket.send_str(msgspec.json.encode({"type": "subscribe", "id": 1, **resume}).decode())
        while not self._over:
            if len(self.frames) >= until:
                await self._cut(socket)
                return
            message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT or not self._take(message.data):
                return

    def _take(self, raw: bytes) -> bool:
        """Take in a frame; whether to read on."""
        frame = msgspec.json.decode(raw)
        if frame["type"] == "event":
            assert frame["seq"] == len(self.frames) + 1
            self.frames.append(raw)
            self._over = frame.get("client_msg_id") == LAST
        elif frame["type"] == "reply":
            if not frame["ok"]:
                assert frame["error"]["code"] == "unavailable", frame
                return False
            assert (frame["recovered"], frame["from"]) == (True, len(self.frames) + 1)
        else:
            assert frame["type"] in {"hello", "bye"}, frame
        return True

    async def _cut(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """End the connection in one of the ways in which clients' connections end."""
        how = self._dice.choice(["close", "abort", "mid-frame"])
        self._run.cuts[how] += 1
        if how == "close":
            await socket.close()
            return
        assert socket._conn is not None
        transport = socket._conn.transport
        assert isinstance(transport, asyncio.Transport)
        if how == "mid-frame":
            transport.write(b"\x81\xfe\x10\x00")  # the head of a frame of 4 KiB, which does not come
            transport.close()
        else:
            transport.abort()


async def follow(run: Run, group: str) -> list[bytes]:
    """The same as the Python client gives it, which comes back by itself when it is cut off."""
    frames: list[bytes] = []
    dice = random.Random(run.dice.random())
    until = dice.randrange(1, FRAMES_BEFORE_A_CUT)
    async with (
        client(run.urls(), "olga") as chat,
        chat.subscribe(group, after=0) as events,
    ):
        async for event in events:
            assert isinstance(event, Event), event
            frames.append(event.raw)
            if event.client_msg_id == LAST:
                break
            if event.seq >= until:
                run.cuts["client"] += 1
                chat.interrupt()
                until = event.seq + dice.randrange(1, FRAMES_BEFORE_A_CUT)
    return frames


async def look(run: Run) -> None:
    """One user who asks all the time: what was acknowledged before the question is in the answer."""
    async with client(run.urls(), "olga") as chat:
        while not run.ended:
            group = run.dice.choice(run.groups)
            acked = max((seq for of, seq in run.acked.values() if of == group), default=0)
            assert (await chat.state(group)).seq >= acked
            newest = (await chat.history(group, limit=1)).messages
            assert max((message.seq for message in newest), default=0) >= acked
            assert (await chat.members(group)).members[0].user == "olga"
            run.answered += 1
            await asyncio.sleep(PAUSE_S)


# The disturbances


async def kill_a_gateway(run: Run) -> None:
    await _end_a_gateway(run, signal.SIGKILL)


async def drain_a_gateway(run: Run) -> None:
    await _end_a_gateway(run, signal.SIGTERM)


async def _end_a_gateway(run: Run, number: signal.Signals) -> None:
    name = run.dice.choice(run.stack.gateways)
    pid = run.stack.kill(name, number)
    await asyncio.to_thread(run.stack.wait_restarted, name, pid)


async def kill_a_processor(run: Run) -> None:
    name = run.dice.choice(run.stack.processors)
    pid = run.stack.kill(name)
    await asyncio.to_thread(run.stack.wait_restarted, name, pid)


async def move_the_owner(run: Run) -> None:
    """A processor that is told to end gives its partitions away, and gets some when it is back."""
    name = run.dice.choice(run.stack.processors)
    pid = run.stack.kill(name, signal.SIGTERM)
    await asyncio.to_thread(run.stack.wait_restarted, name, pid)


async def pause_a_processor(run: Run) -> None:
    """Until another owner has claimed all it had: what it still does when it goes on is void."""
    paused, other = run.dice.sample(run.stack.processors, 2)
    driver = await asyncio.to_thread(Driver, run.stack.bootstrap)

    def moved() -> bool:
        owners = {message.key(): decode_owner(message.value()).worker for message in driver.read(topics.OWNERS)}
        return set(owners.values()) == {other}

    run.stack.kill(paused, signal.SIGSTOP)
    try:
        await asyncio.to_thread(eventually, moved, within_s=WITHIN_S, what=f"{other} owns all partitions")
    finally:
        run.stack.kill(paused, signal.SIGCONT)


async def restart_the_broker(run: Run) -> None:
    pid = run.stack.kill("kafka")
    await asyncio.to_thread(run.stack.wait_restarted, "kafka", pid)


DISTURBANCES: list[Callable[[Run], Coroutine[Any, Any, None]]] = [
    kill_a_gateway,
    drain_a_gateway,
    kill_a_processor,
    move_the_owner,
    pause_a_processor,
    restart_the_broker,
]


async def disturb(run: Run) -> None:
    """Everything once, each blow under load; then the last message."""
    began = time.monotonic()
    for blow in run.dice.sample(DISTURBANCES, len(DISTURBANCES)):
        await run.more()
        print(f"{time.monotonic() - began:.1f} s, {len(run.acked)} acknowledged: {blow.__name__}")
        await blow(run)
    await run.more()
    run.ended = True


async def disturbed(stack: Stack, dice: random.Random) -> None:
    """Write, read and cut while the service is disturbed; then hold what was seen against the log."""
    groups = [f"chaos-{number}" for number in range(GROUPS)]
    async with asyncio.timeout(DEADLINE_S), client([stack.http_url()], "olga") as olga:
        for group in groups:
            await olga.create_group(group, name="Chaos", join="open")
        run = Run(stack, dice, groups, olga.hello.log)
        raw = [RawReader(run, group) for group in groups * 2]
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(reader.read()) for reader in raw]
            following = {group: tasks.create_task(follow(run, group)) for group in groups}
            async with asyncio.TaskGroup() as writers:
                writers.create_task(disturb(run))
                writers.create_task(look(run))
                for writer in range(WRITERS):
                    writers.create_task(write(run, writer))
            for group in groups:
                await olga.send(group, LAST, client_msg_id=LAST)
    assert all(task.done() for task in reading)
    print(f"{len(run.acked)} acknowledged, {run.answered} answered, cuts {run.cuts}, closed with {run.codes}")
    hold_against_the_log(run, raw, {group: task.result() for group, task in following.items()})


def hold_against_the_log(run: Run, raw: list[RawReader], followed: dict[str, list[bytes]]) -> None:
    """Each reader has the log's bytes; each message is in it once, at the seq that was acknowledged."""
    driver = Driver(run.stack.bootstrap)
    log = driver.log()
    for group in run.groups:
        values = [valid.record.value for valid in log if valid.event.group == group]
        assert followed[group] == values
        assert [reader.frames == values for reader in raw if reader.group == group] == [True, True]
    posted = [
        (valid.event.client_msg_id, (valid.event.group, valid.event.seq))
        for valid in log
        if valid.event.kind == "message.posted" and valid.event.client_msg_id != LAST
    ]
    assert len(posted) == len(run.acked)
    assert dict(posted) == run.acked
    assert set(run.codes) <= CODES
    assert not driver.read(topics.DEAD_LETTERS)


def test_whoever_is_cut_off_and_resumes_anywhere_sees_the_log_byte_for_byte(make_stack: MakeStack) -> None:
    seed = int(os.environ.get("AUERBACH_CHAOS_SEED", random.randrange(2**32)))
    print(f"AUERBACH_CHAOS_SEED={seed}")
    stack = make_stack(settings={"AUERBACH_SESSION_TIMEOUT_S": "6"})
    asyncio.run(disturbed(stack, random.Random(seed)))
