"""The sweep over all sockets: pings in slices, without a timer a socket, and the end of the silent."""

import asyncio
import itertools
from collections.abc import Callable

import aiohttp
import pytest

from benchmarks.raw_client import RawClient
from tests.contract.client import WITHIN_S
from tests.support.until import until
from tests.unit.web.world import World, running
from web import sessions as under_test
from web.frames import HEARTBEAT_MS
from web.sessions import SLICE, Sessions

HEARTBEAT_S = HEARTBEAT_MS / 1000


class FakeSession:
    """Counts its beats."""

    def __init__(self, on_beat: Callable[[], None] = lambda: None) -> None:
        self.beats: list[float] = []
        self._on_beat = on_beat

    def beat(self, now: float) -> None:
        self.beats.append(now)
        self._on_beat()


def opened(count: int) -> tuple[Sessions, list[FakeSession]]:
    sessions = Sessions()
    made = [FakeSession() for _ in range(count)]
    for session in made:
        sessions.add(session)  # type: ignore[arg-type]
    return sessions, made


async def test_ten_thousand_are_pinged_slice_by_slice_each_once() -> None:
    sessions, made = opened(10_000)
    now = asyncio.get_running_loop().time() + HEARTBEAT_S + 1
    slices = 0
    pinged = 0
    while sessions.sweep(now):
        slices += 1
        before, pinged = pinged, sum(len(session.beats) for session in made)
        assert pinged - before <= SLICE
    assert [session.beats for session in made] == [[now]] * 10_000
    assert slices == 10_000 // SLICE


async def test_the_loop_turns_between_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test.Sessions, "every_s", 0)
    monkeypatch.setattr(under_test.Sessions, "between_slices_s", 0)
    sessions, made = opened(10 * SLICE)
    seen = [0]
    sweeping = asyncio.create_task(sessions.run())
    async with asyncio.timeout(WITHIN_S):
        while seen[-1] < len(made):
            await asyncio.sleep(0)
            seen.append(sum(bool(session.beats) for session in made))
    sweeping.cancel()
    assert max(b - a for a, b in itertools.pairwise(seen)) <= SLICE


async def test_each_is_pinged_a_heartbeat_after_its_last_ping_and_not_before() -> None:
    sessions, (first,) = opened(1)
    start = asyncio.get_running_loop().time()
    sessions.sweep(start + HEARTBEAT_S - 1)
    assert first.beats == []
    sessions.sweep(start + HEARTBEAT_S + 1)
    sessions.sweep(start + 2 * HEARTBEAT_S)
    assert first.beats == [start + HEARTBEAT_S + 1]
    sessions.sweep(start + 2 * HEARTBEAT_S + 2)
    assert len(first.beats) == 2


async def test_who_is_gone_is_neither_pinged_nor_kept() -> None:
    sessions, (first, second) = opened(2)
    sessions.remove(first)  # type: ignore[arg-type]
    assert len(sessions) == 1
    sessions.sweep(asyncio.get_running_loop().time() + HEARTBEAT_S + 1)
    assert (first.beats, len(second.beats)) == ([], 1)


async def test_an_open_socket_has_no_timer_of_its_own(world: World) -> None:
    loop = asyncio.get_running_loop()
    async with running(world) as gateway:
        port = int(gateway.url.rpartition(":")[2])

        def timers() -> int:
            return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]

        clients = [await asyncio.to_thread(RawClient, port, "alice")]
        before = timers()
        clients += [await asyncio.to_thread(RawClient, port, "alice") for _ in range(100)]
        assert timers() < before + 50  # one or two of those that come and go in a gateway may have been due just then
        assert len(gateway.sessions) == 101
        for client in clients:
            client.close()


async def test_a_pong_is_life_and_who_sends_none_for_two_heartbeats_is_closed(world: World) -> None:
    async with running(world) as gateway:
        silent = await gateway.connect("?user=bob", autoping=False)
        await silent.next()
        (bobs,) = gateway.sessions._due
        alice = await gateway.client("alice")
        (alices,) = set(gateway.sessions._due) - {bobs}
        opened_at = alices._last_seen
        pinged_at = max(gateway.sessions._due.values())

        gateway.sessions.sweep(pinged_at)
        reading = asyncio.create_task(alice.next())  # a client answers pings while it reads
        await until(lambda: alices._last_seen != opened_at)
        gateway.sessions.sweep(pinged_at + HEARTBEAT_S)

        assert (await silent.socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.PING
        assert await silent.closed() == 1001
        await alice.start("ping")
        assert (await reading)["ok"]
        assert alices in gateway.sessions._due
        await alice.socket.close()
