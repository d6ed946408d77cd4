"""The traps of writing to a transport oneself (design §5)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from tests.support.fake_transport import FakeTransport
from web import metrics
from web.outbox import LIVE_LIMIT_BYTES, WINDOW_BYTES, Outbox, Send

WITHIN_S = 30


class Rig:
    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.closed = False
        self.slow = 0
        self.held: set[Send] = set()
        self.outbox = Outbox(
            self.transport,  # type: ignore[arg-type]
            drain=self.transport.drain,
            is_closed=lambda: self.closed,
            on_slow=self._on_slow,
            held=self.held,
        )

    def _on_slow(self) -> None:
        self.slow += 1


async def turns() -> None:
    """Let everything that is due run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_frames_of_one_tick_leave_as_one_write() -> None:
    rig = Rig()
    for frame in (b"a", b"b", b"c"):
        rig.outbox.push(frame)
    assert rig.transport.writes == []
    await turns()
    assert rig.transport.writes == [b"abc"]


async def test_nothing_is_written_after_our_own_close() -> None:
    rig = Rig()
    rig.outbox.push(b"a")
    rig.closed = True
    await turns()
    rig.outbox.push(b"b")
    await turns()
    assert rig.transport.writes == []


async def test_a_transport_that_raises_ends_the_outbox_and_nothing_else() -> None:
    rig = Rig()
    rig.transport.raises = True
    rig.outbox.push(b"a")
    await turns()
    rig.transport.raises = False
    rig.outbox.push(b"b")
    await turns()
    assert rig.transport.writes == []
    await asyncio.wait_for(rig.outbox.drained(), WITHIN_S)


async def test_frames_wait_here_while_the_transport_is_full_and_keep_their_order() -> None:
    rig = Rig()
    rig.transport.stall()
    frames = [bytes([65 + i]) * 20_000 for i in range(20)]
    for frame in frames:
        rig.outbox.push(frame)
    await turns()
    assert WINDOW_BYTES <= rig.transport.buffered < WINDOW_BYTES + 20_000
    for _ in range(10):
        rig.transport.take_all()
        await turns()
    assert b"".join(rig.transport.writes) == b"".join(frames)


async def test_more_than_the_limit_of_live_frames_is_too_slow_once() -> None:
    rig = Rig()
    rig.transport.stall()
    for _ in range(LIVE_LIMIT_BYTES // 1000 + 200):
        rig.outbox.push(b"x" * 1000, live=True)
        await asyncio.sleep(0)
    assert rig.slow == 1
    assert rig.outbox.backlog == 0


async def test_frames_that_are_not_live_do_not_count() -> None:
    rig = Rig()
    rig.transport.stall()
    for _ in range(3):
        rig.outbox.push(b"x" * LIVE_LIMIT_BYTES)
    rig.outbox.push(b"x" * (LIVE_LIMIT_BYTES - 1), live=True)
    await turns()
    assert rig.slow == 0


async def test_who_waits_for_room_is_woken_when_the_reader_reads() -> None:
    rig = Rig()
    rig.transport.stall()
    rig.outbox.push(b"x" * (3 * WINDOW_BYTES))
    first, second = asyncio.create_task(rig.outbox.drained()), asyncio.create_task(rig.outbox.drained())
    await turns()
    assert not first.done()
    first.cancel()  # must not cancel the other's wait
    await turns()
    rig.transport.take_all()
    await asyncio.wait_for(second, WITHIN_S)


async def test_an_asker_is_not_held_up_by_live_frames() -> None:
    rig = Rig()
    rig.transport.stall()
    for _ in range(60):
        rig.outbox.push(b"x" * 10_000, live=True)
    await turns()
    await asyncio.wait_for(rig.outbox.answered(), WITHIN_S)


async def test_finish_hands_everything_over_before_a_close() -> None:
    rig = Rig()
    rig.transport.stall()
    rig.outbox.push(b"x" * WINDOW_BYTES)
    await turns()
    rig.outbox.push(b"bye")
    rig.outbox.finish()
    rig.outbox.push(b"late")
    await turns()
    assert rig.transport.writes[1:] == [b"bye"]


async def test_there_is_no_way_past_an_answer_from_before_the_handshake() -> None:
    rig = Rig()
    rig.transport.stall()
    rig.transport.write(b"the answer to an earlier request")
    assert rig.outbox.direct() is None
    rig.transport.take_all()
    assert rig.outbox.direct() is not None


async def test_what_an_aborted_transport_drops_is_the_last_that_was_sent() -> None:
    rig = Rig()
    send = rig.outbox.direct()
    assert send is not None
    rig.transport.closing = True
    rig.outbox.take_over(b"the rest")
    assert (rig.transport.writes, rig.transport.duplicates) == ([], 0)
    assert rig.held == {send}
    assert rig.outbox.direct() is None


async def test_what_waited_in_a_transport_that_was_aborted_is_the_last_that_was_sent() -> None:
    rig = Rig()
    send = rig.outbox.direct()
    rig.transport.stall()
    rig.outbox.take_over(b"the rest")
    await turns()
    rig.transport.closing = True
    rig.transport.take_all()  # as the end of a connection does
    await turns()
    assert (rig.held, rig.transport.duplicates) == ({send}, 0)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_pump_that_is_cancelled_is_not_counted_and_lets_nobody_past_what_waits(begun: bool) -> None:
    before = metrics.SLOW_SOCKETS._value.get()
    rig = Rig()
    send = rig.outbox.direct()
    rig.transport.stall()
    rig.outbox.take_over(b"the rest")
    assert metrics.SLOW_SOCKETS._value.get() == before + 1
    if begun:
        await turns()
    assert rig.outbox._pump is not None
    rig.outbox._pump.cancel()
    await turns()
    assert metrics.SLOW_SOCKETS._value.get() == before
    assert rig.held == {send}


async def test_a_socket_is_slow_until_its_reader_has_everything_or_it_has_ended() -> None:
    before = metrics.SLOW_SOCKETS._value.get()
    for end in (FakeTransport.take_all, None):
        rig = Rig()
        rig.transport.stall()
        rig.outbox.push(b"x" * 3 * WINDOW_BYTES)
        await turns()
        assert metrics.SLOW_SOCKETS._value.get() == before + 1
        if end is None:
            rig.outbox.leave()
        rig.transport.take_all()
        await turns()
        assert metrics.SLOW_SOCKETS._value.get() == before
        assert not rig.held


async def _to_a_closed_uvloop_transport(outbox_of: Callable[[Any, Callable[[], Awaitable[None]]], Outbox]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)

    async def drain() -> None:
        return

    outbox = outbox_of(transport, drain)
    outbox.push(b"a")
    transport.abort()
    await turns()
    outbox.push(b"b")
    await turns()
    assert outbox.backlog == 0
    server.close()


def test_a_closed_transport_of_uvloop_ends_the_outbox_quietly() -> None:
    failures: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await _to_a_closed_uvloop_transport(
            lambda transport, drain: Outbox(transport, drain=drain, is_closed=lambda: False, on_slow=pytest.fail)
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    assert failures == []
