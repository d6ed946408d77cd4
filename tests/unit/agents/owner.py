"""An owner's partition without a broker: what it is asked is decided at once, and it answers reads."""

import asyncio
from typing import Any, cast

import msgspec

from agents.partition import Partition
from agents.presence import PartitionPresence
from agents.reading import answer
from app.domain.commands import AnyCommand, Send, message_of, reaction_of
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.reads import Answer, AnyRead, ReadMessages, ReadSubscription
from tables.partition_tables import PartitionTables
from tables.store import Store
from tests.support.memory_store import MemoryStore
from tests.unit.domain.strategies import FIRST_MS

LOG = "log"


class Log:
    """The log of a partition: delivered when the test says so, otherwise at once."""

    epoch = 3

    def __init__(self) -> None:
        self.at_once = True
        self._waiting: list[asyncio.Future[int]] = []

    def offset_after_all(self) -> asyncio.Future[int]:
        mark: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(mark)
        if self.at_once:
            self.deliver()
        return mark

    def deliver(self) -> None:
        """All that was asked for until now is on disk."""
        for mark in self._waiting:
            mark.set_result(40)
        self._waiting = []

    async def cover(self, end: int) -> bool:
        return True


class Owner:
    """A partition that serves the group "g": ann owns it, bob is in it."""

    def __init__(self, groups: Store | None = None) -> None:
        self.tables = PartitionTables(groups or MemoryStore(), MemoryStore())
        self.log = Log()
        self.presence = PartitionPresence(0)
        self.serving = True
        self.failed: list[Exception] = []

    def fail(self, why: Exception) -> None:
        self.failed.append(why)

    def ask(self, *commands: AnyCommand) -> int:
        """Decide commands, none of which may be refused; the seq after them."""
        for command in commands:
            group = self.tables.group(command.group)
            seq = message_of(command)
            target = None if seq is None else self.tables.target(group, seq, reaction_of(command))
            now_ms = FIRST_MS + 1_000 * group.seq
            outcome = decide(group, command, now_ms=now_ms, event_id=f"e{group.seq + 1}", target=target)
            assert isinstance(outcome, Event), outcome
            self.tables.apply(outcome, encode_event(outcome))
        return self.tables.group("g").seq

    async def read(self, read: AnyRead) -> Answer:
        return await answer(cast("Partition", self), LOG, read, timeout_s=60)

    async def messages(self, user: str | None = "ann", **bounds: Any) -> list[dict[str, Any]]:
        page = await self.read(ReadMessages(group="g", user=user, end=0, **bounds))
        return [msgspec.json.decode(item) for item in page.messages]

    async def subscribe(self, user: str = "ann", **fields: Any) -> tuple[int, bool, list[int]]:
        """Where a subscription begins, whether that is what was asked, and the seqs that follow."""
        begun = await self.read(ReadSubscription(group="g", user=user, end=0, log=LOG, **fields))
        return begun.start, begun.recovered, [msgspec.json.decode(frame)["seq"] for frame in begun.frames]


def by(user: str | None, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "group": "g", "by": user, **fields}


def post(text: str = "hi", user: str = "ann", **fields: Any) -> Send:
    return Send(**by(user), client_msg_id=f"{user} {text[:40]}", text=text, **fields)
