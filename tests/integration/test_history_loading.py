"""Loading a history behind its groups, from a real log and a real changelog: it ends as the fold of the log."""

import asyncio
from functools import partial
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer as PlainProducer

from agents import history_loading
from agents.context import Context
from agents.history_loading import HistoryLoading
from app.bootstrap import make_topics
from app.config import Settings
from app.domain.events import (
    AnyData,
    Event,
    GroupCreated,
    MessageDeleted,
    MessagePosted,
    NewMember,
    ReactionAdded,
    decode_event,
    encode_event,
)
from app.domain.evolve import evolve
from app.kafka import consumer, topics
from app.kafka.producer import Producer
from app.log.fence import Fence, valid_event
from app.log.records import Claim, CommandPlace, claim_headers, encode_claim, event_headers
from tables import rows
from tables.loader import load
from tables.partition_tables import PartitionTables
from tables.stoppable import Stop, StoppedError
from tables.write_behind import TableChangelog, WriteBehind
from tests.support.memory_store import MemoryStore
from tests.support.until import until

AT = "2026-11-25T01:20:00.123Z"
_apps = count()


class Log:
    """The events partition 0 of a broker, written as an owner does, and the tables of one who takes over."""

    def __init__(self, bootstrap: str) -> None:
        self.settings = Settings(  # type: ignore[call-arg]
            KAFKA_BOOTSTRAP=bootstrap, AUERBACH_APP_ID=f"loading-{next(_apps)}", AUERBACH_PARTITIONS=1
        )
        _, self.layout = make_topics(self.settings)
        self._producer = PlainProducer({"bootstrap.servers": bootstrap, "log_level": 2})
        self.start = self.end()
        self.epoch = self.claim()
        self.seq = 0
        self.group = self.settings.app_id

    def end(self) -> int:
        with consumer.reader(self.settings.bootstrap) as reader:
            return consumer.offsets(reader, topics.EVENTS, 0)[1]

    def claim(self) -> int:
        claim = Claim(log=self.layout.log_id, worker="w", at=AT)
        self._producer.produce(topics.EVENTS, encode_claim(claim), None, 0, headers=claim_headers())
        assert self._producer.flush(90) == 0
        return self.end() - 1

    def append(self, *happened: AnyData) -> None:
        for data in happened:
            self.seq += 1
            event = Event(group=self.group, seq=self.seq, id=str(self.seq), kind=data.kind, by="ann", at=AT, data=data)
            headers = event_headers(
                event, epoch=self.epoch, command_id="c", topic_id="t", place=CommandPlace(self.seq, 0)
            )
            self._producer.produce(topics.EVENTS, encode_event(event), event.group.encode(), 0, headers=headers)
        assert self._producer.flush(90) == 0

    def events(self, start: int, end: int) -> list[tuple[Event, bytes]]:
        fence = Fence()
        with consumer.reader(self.settings.bootstrap) as reader:
            read = (valid_event(m, fence) for m in consumer.read(reader, topics.EVENTS, 0, start, end))
            return [(decode_event(r.value), r.value) for r in read if r is not None]

    def history(self, tables: PartitionTables) -> list[bytes]:
        return [value for _, value in tables.history.events(self.group, 1, self.seq)]

    def expected(self) -> list[bytes]:
        """The history as it is folded at once."""
        tables = PartitionTables(MemoryStore(), MemoryStore())
        for event, value in self.events(self.start, self.end()):
            tables.apply(event, value)
        return self.history(tables)


class Taking:
    """An owner that has loaded the groups up to `groups_at` and begins to load the history."""

    def __init__(self, log: Log, groups_at: int) -> None:
        self.log = log
        self.groups_at = groups_at
        self.stores = MemoryStore(), MemoryStore()
        self.tables = PartitionTables(*self.stores)
        self.producer = Producer(log.settings.bootstrap)
        self.ended = Stop()
        left: list[Exception] = []
        settings, producer = log.settings, self.producer
        self.context = Context(
            settings, log.layout, producer, producer, "http://here", left.append, *(lambda *_: None,) * 2
        )
        self.names = topics.changelogs(log.settings.app_id)

    async def begin(self) -> HistoryLoading:
        epoch = await asyncio.to_thread(self.log.claim)
        logs = {
            name: TableChangelog(self.producer, self.context.bootstrap, topic, 0, self.tables.stores[name])
            for name, topic in self.names.items()
        }
        for each in logs.values():
            await each.claim(epoch, "w")
        loaded = await asyncio.to_thread(load, self.context.bootstrap, self.names["groups"], 0, self.stores[0])
        logs["groups"].loaded(loaded.offset)
        self.write_behind = WriteBehind(self.tables, logs, epoch)
        self.tables.hold_history()
        return HistoryLoading(self.context, 0, self.tables, self.write_behind, epoch, self.groups_at, self.ended)

    def fold(self, start: int, end: int) -> None:
        for event, value in self.log.events(start, end):
            self.tables.apply(event, value)

    def fold_group(self, start: int, end: int) -> None:
        """The groups alone, as their rows would have given them."""
        for event, _ in self.log.events(start, end):
            evolve(self.tables.group(event.group), event)

    async def write_changelog(self, *changes: tuple[bytes, bytes]) -> None:
        for key, row in changes:
            await self.producer.deliver(self.names["history"], 0, key=key, value=row)


@pytest.fixture
def log(module_broker: str) -> Log:
    return Log(module_broker)


def beginning() -> list[AnyData]:
    members = (NewMember("ann", "owner"),)
    return [
        GroupCreated(name="n", topic="", join="open", history="all", members=members),
        *(MessagePosted(text=f"secret {n}") for n in range(6)),
    ]


LATER: list[AnyData] = [ReactionAdded(target=3, emoji="x"), MessageDeleted(target=2), MessagePosted(text="last")]


async def test_events_between_the_historys_position_and_the_groups_are_folded_before_those_that_wait(log: Log) -> None:
    log.append(*beginning())
    before, reached = PartitionTables(MemoryStore(), MemoryStore()), log.end()
    for event, value in log.events(log.start, reached):
        before.apply(event, value)
    taking = Taking(log, reached)
    where = rows.Position(
        event_offset=reached - 3, epoch=log.epoch, command_topic_id="t", command_offset=0, command_index=0
    )
    written = [c for c in before.snapshot(log.epoch).history if c[1] is not None][:4]
    await taking.write_changelog(*written, (rows.POSITION_KEY, rows.encode_position(where, log.epoch)))  # type: ignore[arg-type]
    taking.fold_group(log.start, reached)
    log.append(*LATER)
    loading = await taking.begin()
    taking.fold(reached, log.end())
    await loading.run()
    assert log.history(taking.tables) == log.expected()
    assert not [value for value in log.history(taking.tables) if b"secret 0" in value]
    target = taking.tables.target(taking.tables.group(log.group), 3, ("ann", "x"))
    assert target is not None
    assert target.reacted


async def test_a_lost_history_is_made_anew_in_parts_from_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_loading, "FOLD_RECORDS", 2)
    log.append(*beginning(), *LATER)
    reached = log.end()
    taking = Taking(log, reached)
    loading = await taking.begin()
    await loading.run()
    assert log.history(taking.tables) == log.expected()
    assert taking.stores[1].get(rows.POSITION_KEY) is not None  # it was written in between


async def test_a_group_whose_history_has_void_rows_is_built_anew_from_the_whole_log(log: Log) -> None:
    log.append(*beginning(), *LATER)
    reached = log.end()
    taking = Taking(log, reached)
    claimed = (rows.claim_key(log.epoch), rows.value(log.epoch, b"w"))
    where = rows.Position(
        event_offset=reached, epoch=log.epoch, command_topic_id="t", command_offset=0, command_index=0
    )
    stale = (rows.event_key(log.group, 2), rows.value(log.epoch - 1, b'{"stale":true}'))
    position = (rows.POSITION_KEY, rows.encode_position(where, log.epoch))
    await taking.write_changelog(claimed, position, stale)
    loading = await taking.begin()
    await loading.run()
    assert log.history(taking.tables) == log.expected()
    assert taking.tables.snapshot(9).unmarked == [rows.stale_key(log.group)]


@pytest.mark.parametrize("who", ["the loading", "the opening"])
async def test_a_stop_reaches_a_thread_that_waits_for_records(
    log: Log, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(history_loading, "FOLD_RECORDS", 2)
    # A read without records gives up by itself at last: not here, where only a stop is to end it.
    monkeypatch.setattr(consumer, "read", partial(consumer.read, stall_s=3_600))
    log.append(*beginning())
    taking = Taking(log, log.end() + 1_000)  # the log does not reach that far, so the read waits
    loading = await taking.begin()
    running = asyncio.create_task(loading.run())
    await until(lambda: taking.stores[1].get(rows.POSITION_KEY) is not None)
    (loading.stop if who == "the loading" else taking.ended.now)()
    async with asyncio.timeout(90):
        with pytest.raises(StoppedError):
            await running


async def test_what_is_stopped_writes_nothing_more(log: Log) -> None:
    log.append(*beginning())
    taking = Taking(log, log.end())
    loading = await taking.begin()
    loading.stop()
    with pytest.raises(StoppedError):
        await loading.run()
    assert dict[bytes, Any](taking.stores[1].scan(b"")) == {}
    assert taking.tables.held is not None
