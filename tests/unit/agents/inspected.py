"""A worker as its operators ask it, from a partition that needs no broker; the broker's part is `FakeBroker`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from agents.inspection.broker import Places
from agents.inspection.here import Here
from agents.inspection.inspector import WorkerInspector
from agents.partition import Partition
from app.domain.commands import AnyCommand
from app.domain.events import Event
from app.inspection import GroupQuery, GroupView, SearchQuery, SearchView
from app.kafka.consumer import ReadError
from app.kafka.topics import Layout
from app.log.records import EventRecord
from app.owners import Owners
from app.reads import OwnerRecord
from tests.unit.agents.test_partition import EPOCH, World

URL = "http://here:1"


@dataclass
class FakeBroker:
    """`agents.inspection.broker.Broker` that says what a test gives it; all empty by default."""

    partitions: int
    owners: Owners = field(init=False)
    records: list[OwnerRecord] = field(default_factory=list)
    told: Places | None = field(default_factory=lambda: Places(committed={}, ends={}))
    since: dict[int, int] = field(default_factory=dict)
    commands: dict[tuple[int, int, int], AnyCommand] = field(default_factory=dict)
    newest: list[tuple[int, EventRecord]] = field(default_factory=list)
    asked_instants: list[dict[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owners = Owners(self.partitions, "log")

    async def learn_owners(self) -> None:
        for number, record in enumerate(self.records):
            self.owners.learn(number, record)

    async def places(self) -> Places:
        if self.told is None:
            raise ReadError("away")
        return self.told

    async def instants(self, places: dict[int, int]) -> dict[int, int]:
        self.asked_instants.append(places)
        return {number: self.since[number] for number in places if number in self.since}

    async def command(self, partition: int, offset: int, index: int) -> AnyCommand | None:
        return self.commands.get((partition, offset, index))

    async def newest_events(
        self, epochs: dict[int, int], count: int, wanted: Callable[[EventRecord], bool]
    ) -> list[tuple[int, EventRecord]]:
        return [(number, record) for number, record in self.newest if number in epochs and wanted(record)]


@dataclass
class Worker:
    """A worker with one partition that serves, number 0, of `partitions`."""

    partitions: int = 1
    world: World = field(default_factory=World)
    stopped: dict[int, str] = field(default_factory=dict)
    assigned: set[int] = field(default_factory=lambda: {0})

    def __post_init__(self) -> None:
        self.broker = FakeBroker(self.partitions)
        layout = Layout(self.partitions, "log", "commands")
        here = Here("processor-0", URL, layout, self.owned, lambda: self.assigned, lambda: self.stopped)
        self.inspector = WorkerInspector(here, cast("Any", self.broker))

    def owned(self, number: int) -> Partition | None:
        return self.world.partition if number == 0 else None

    async def do(self, *records: list[Any]) -> None:
        """Decide records of commands and deliver the events."""
        for offset, commands in enumerate(records):
            await self.world.send(offset, *commands)
        self.world.broker.deliver()

    async def group(self, group: str = "g", **query: int) -> GroupView:
        view = await self.inspector.group(GroupQuery(group=group, **query))
        assert isinstance(view, GroupView)
        return view

    async def search(self, id_: str, group: str | None = None, cursor: str | None = None) -> SearchView:
        view = await self.inspector.search(SearchQuery(id=id_, group=group, cursor=cursor))
        assert isinstance(view, SearchView)
        return view

    def events(self) -> list[Event]:
        return [e["event"] for e in self.world.broker.events]


def owner(worker: str, url: str, epoch: int = 5) -> OwnerRecord:
    return OwnerRecord(url=url, epoch=epoch, offset=epoch + 1, worker=worker, log="log")


def flush(world: World) -> None:
    """Write what changed to the stores, as a flush does."""
    tables = world.partition.tables
    snapshot = tables.snapshot(EPOCH)
    tables.stores["groups"].write(snapshot.groups, 0)
    tables.stores["history"].write(snapshot.history, 0)
    tables.written()
