"""Serving: each command is decided once, in its order, and a reply never overtakes what it was decided from."""

from typing import Any, cast

import msgspec
import pytest

from agents import partition as module
from agents.commands import CommandRecord
from agents.context import Context
from agents.flusher import ClosedError
from agents.opening import Opened
from agents.partition import Partition
from app.config import Settings
from app.domain.commands import Command, CreateGroup, Join, Leave, Send, encode_command
from app.domain.events import decode_event
from app.kafka import topics
from app.kafka.producer import Report
from app.kafka.topics import Layout
from app.log.records import NOWHERE, CommandPlace
from app.reads import decode_outcome
from tables.partition_tables import PartitionTables
from tests.support.memory_store import MemoryStore

EPOCH = 10


class Broker:
    """A producer that takes everything; events are reported when the test says so, all else at once."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.records: list[tuple[str, bytes]] = []
        self._reports: list[tuple[int, Report]] = []

    def produce(
        self, topic: str, partition: int, *, key: bytes, value: bytes, headers: Any = None, report: Report | None
    ) -> None:
        if topic == topics.EVENTS:
            self.events.append({**dict(headers), "event": decode_event(value)})
            if report is not None:  # the last of those sent at once
                self._reports.append((EPOCH + len(self.events), report))
        elif report is not None:
            self.records.append((topic, value))
            report(0, None)

    def deliver(self) -> None:
        """Report all events that were not reported yet."""
        reports, self._reports = self._reports, []
        for offset, report in reports:
            report(offset, None)

    def replies(self) -> list[Any]:
        return [decode_outcome(value) for topic, value in self.records if topic == topics.REPLIES]

    def dead_letters(self) -> list[bytes]:
        return [value for topic, value in self.records if topic == topics.DEAD_LETTERS]


class World:
    """One partition, opened at a place in its commands."""

    def __init__(
        self,
        decided: CommandPlace = NOWHERE,
        with_event: frozenset[CommandPlace] = frozenset(),
        loading: Any = None,
    ) -> None:
        self.broker = Broker()
        self.left: list[Exception] = []
        self.stopped: list[tuple[int, Exception]] = []
        self.rewound: list[int] = []
        self.done: list[int] = []
        producer = cast("Any", self.broker)
        settings = Settings(AUERBACH_FLUSH_INTERVAL_MS=60_000)  # type: ignore[call-arg]
        context = Context(
            settings,
            Layout(1, "log", "commands"),
            producer,
            producer,
            "http://here",
            self.left.append,
            self._stop,
            self._rewind,
        )
        tables = PartitionTables(MemoryStore(), MemoryStore())
        write_behind = cast("Any", None)
        opened = Opened(EPOCH, decided, with_event, write_behind, loading, decided.offset + 1)
        self.partition = Partition(context, 0, tables, opened)

    def _stop(self, number: int, why: Exception) -> None:
        self.stopped.append((number, why))

    def _rewind(self, number: int, offset: int) -> None:
        self.rewound.append(offset)

    def record(self, offset: int, *commands: Command | bytes) -> CommandRecord:
        encoded = [c if isinstance(c, bytes) else encode_command(c) for c in commands]
        return CommandRecord(offset, 1_795_569_600_000, b"g", b"[" + b",".join(encoded) + b"]", [])

    async def send(self, offset: int, *commands: Command | bytes) -> None:
        await self.partition.handle(self.record(offset, *commands), lambda: self.done.append(offset))


def create(**fields: Any) -> CreateGroup:
    return CreateGroup(id="create", group="g", by="olga", origin="gw", name="n", join="open", **fields)


def post(text: str, by: str = "olga") -> Send:
    return Send(id=text, group="g", by=by, origin="gw", client_msg_id=text, text=text)


async def test_a_record_is_done_when_its_last_command_is_on_disk() -> None:
    world = World()
    await world.send(0, create(), post("a"))
    assert (len(world.broker.events), world.done) == (2, [])
    world.broker.deliver()
    assert world.done == [0]


async def test_what_an_owner_before_decided_is_not_decided_again() -> None:
    join = Join(id="j", group="g", by="mike", origin="gw")
    world = World(decided=CommandPlace(5, 1), with_event=frozenset({CommandPlace(5, 0)}))
    await world.send(5, join, Leave(id="refused", group="g", by="zoe", origin="gw"), create())
    assert [e["command_id"] for e in world.broker.events] == [b"create"]
    # The one without an event was refused, or its owner died before saying so: its outcome is unknown.
    assert [(r.command, r.refusal.code, r.refusal.temporary) for r in world.broker.replies()] == [
        ("refused", "timeout", True)
    ]
    world.broker.deliver()
    assert world.done == [5]


async def test_what_was_passed_over_is_read_again_before_anything_behind_it_is_decided() -> None:
    world = World()
    await world.send(0, create())
    await world.send(3, post("behind"))
    assert (world.rewound, len(world.broker.events), world.partition.next_command) == ([1], 1, 1)
    for offset, text in enumerate(["a", "b", "behind"], 1):
        await world.send(offset, post(text))
    world.broker.deliver()
    assert [e["event"].data.text for e in world.broker.events[1:]] == ["a", "b", "behind"]
    assert world.done == [0, 1, 2, 3]


async def test_what_is_not_in_the_log_any_more_is_not_waited_for() -> None:
    world = World()
    await world.send(0, create())
    world.partition.skip_to(3)
    await world.send(3, post("next"))
    assert (world.rewound, len(world.broker.events)) == ([], 2)


async def test_what_is_read_again_in_one_life_is_done_only_when_its_event_is_on_disk() -> None:
    world = World()
    await world.send(0, create())
    await world.send(0, create())
    assert (len(world.broker.events), world.done) == (1, [])
    world.broker.deliver()
    assert (world.done, world.broker.replies()) == ([0, 0], [])


async def test_a_reply_waits_for_the_events_it_was_decided_from() -> None:
    world = World()
    await world.send(0, create(client_msg_id="k"))
    await world.send(1, create(client_msg_id="k"))
    assert world.broker.replies() == []
    world.broker.deliver()
    assert [(r.duplicate, r.seq) for r in world.broker.replies()] == [(True, 1)]
    assert world.done == [0, 1]


async def test_a_command_that_raises_is_put_aside_and_the_next_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    await world.send(0, create())
    world.broker.deliver()
    decide = module.decide

    def bug(group: Any, command: Any, **more: Any) -> Any:
        if command.id == "bad":
            raise ZeroDivisionError
        return decide(group, command, **more)

    monkeypatch.setattr(module, "decide", bug)
    await world.send(1, post("bad"), post("good"))
    world.broker.deliver()
    assert [e["event"].data.text for e in world.broker.events[1:]] == ["good"]
    assert [msgspec.json.decode(letter)["id"] for letter in world.broker.dead_letters()] == ["bad"]
    assert [r.refusal.code for r in world.broker.replies()] == ["timeout"]
    assert (world.done, world.left) == ([0, 1], [])


async def test_what_cannot_be_appended_leaves_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def full(*_: object, **__: object) -> None:
        raise BufferError

    monkeypatch.setattr(world.broker, "produce", full)
    await world.send(0, create())
    assert len(world.left) == 1
    with pytest.raises(ClosedError):
        await world.send(1, create())
    assert world.done == []


async def test_gateways_are_told_who_owns_the_partition_and_from_where_they_may_read() -> None:
    world = World()
    owners = [msgspec.json.decode(value) for topic, value in world.broker.records if topic == topics.OWNERS]
    assert owners == [
        {"url": "http://here", "epoch": EPOCH, "offset": EPOCH + 1, "worker": "processor-0", "log": "log"}
    ]
