"""A hub's followers over sockets in memory: they come, stall and read as tests say."""

import asyncio

import pytest

from tests.support.fake_transport import FakeTransport
from web import followers
from web.hub import Hub
from web.live_events import LiveEvent, Run
from web.outbox import Outbox

KEY = b"g"


class Member:
    """A socket that follows the group from the head on, live at once or when `go_live` says so."""

    group = "g"

    def __init__(self, to: Hub, head: int, *, live: bool = True, socket: "Member | None" = None) -> None:
        """`socket`: whose socket it is, if it is not the first to follow by it."""
        self.transport = socket.transport if socket is not None else FakeTransport()
        self.start = self.cursor = head
        self.runs: list[Run] = []
        self.buffer: list[LiveEvent] = []
        self.live = False
        self.slow = False
        self.hub = to
        self.outbox = socket.outbox if socket is not None else self._outbox()
        to.follow(KEY, self)
        if live:
            self.go_live()

    def _outbox(self) -> Outbox:
        return Outbox(
            self.transport,  # type: ignore[arg-type]
            drain=self.transport.drain,
            is_closed=lambda: False,
            on_slow=self.on_slow,
            held=self.hub.held,
        )

    def go_live(self) -> None:
        """As a subscription whose answer came: what was kept meanwhile is written, and the hub told."""
        if not self.live:
            self.live = True
            for event in self.buffer:
                self.take(event)
            self.hub.advance(self, self.cursor)

    def take(self, event: LiveEvent) -> None:
        if event.seq > self.cursor:
            assert event.seq == self.cursor + 1
            self.outbox.push(event.frame, live=True)
            self.cursor = event.seq

    def on_slow(self) -> None:
        self.slow = True

    def on_run(self, run: Run) -> None:
        self.runs.append(run)
        if not self.live:
            self.buffer += run.events
            return
        if run.first == self.cursor + 1:
            self.outbox.write(run.frames)
            self.cursor = run.last
        for event in run.events:
            self.take(event)
        self.hub.advance(self, self.cursor)

    def resume(self, cursor: int) -> None:
        self.cursor = cursor

    def lost(self) -> None:
        raise AssertionError

    def seqs(self) -> list[int]:
        """What was written to the socket."""
        return [int(seq) for seq in b"".join(self.transport.writes).split()]


def event(seq: int, size: int = 0, leaving: str | None = None) -> LiveEvent:
    return LiveEvent(seq, b"%d " % seq + b" " * size, leaving)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def given_out(world: Hub) -> None:
    """Let everything that was published reach the outboxes."""
    world.flush()
    while any(group.waiting is not None for group in world._groups.values()):
        await asyncio.sleep(0)


async def in_the_middle(monkeypatch: pytest.MonkeyPatch) -> tuple[Hub, list[Member]]:
    """A hub in the middle of giving the event 1 to three members: the first has got it."""
    monkeypatch.setattr(followers, "CHUNK", 1)
    world = Hub()
    members = [Member(world, 0) for _ in range(3)]
    world.publish(KEY, event(1))
    world.flush()
    await asyncio.sleep(0)
    assert [member.seqs() for member in members] == [[1], [], []]
    return world, members
