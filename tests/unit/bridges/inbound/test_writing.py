"""From deliveries to records and back: nothing is acknowledged before it, and all before it, is on disk."""

import asyncio
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import KafkaError

from app.domain.commands import DeleteGroup
from app.kafka.producer import QueueFullError
from app.kafka.topics import COMMANDS, DEAD_LETTERS, Layout
from bridges.connection import LostError
from bridges.inbound.updates import Update
from bridges.inbound.writing import RECORD_BYTES, Writing
from tests.support.until import until

LAYOUT = Layout(partitions=4, log_id="log", commands_topic_id="commands")


class FakeProducer:
    """Keeps what is produced; a test reports it."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, bytes, Any]] = []
        self.room = 1000

    def produce(self, topic: str, partition: int, *, key: Any, value: bytes, headers: Any, report: Any) -> None:
        if self.room == 0:
            raise QueueFullError(topic)
        self.room -= 1
        self.records.append((topic, partition, value, report))

    def report(self, at: int, error: KafkaError | None = None) -> None:
        self.records[at][3](None if error else 1, error)


class FakeChannel:
    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, bool]] = []
        self.fails = False

    async def basic_ack(self, tag: int, multiple: bool = False) -> None:
        if self.fails:
            raise ConnectionResetError
        self.acknowledged.append((tag, multiple))


class Rig:
    def __init__(self) -> None:
        self.producer = FakeProducer()
        self.channel = FakeChannel()
        self.writing = Writing("q", cast("Any", self.producer), LAYOUT, cast("Any", self.channel))

    def add(self, tag: int, group: str, size: int = 1) -> None:
        commands = tuple(DeleteGroup(id=f"{tag}-{n}", group=group, by=None) for n in range(size))
        self.writing.add(tag, Update(group, commands))


@pytest.fixture
async def rig() -> Rig:
    return Rig()


ONE = "g0"


async def test_messages_that_come_together_leave_as_one_record_a_partition_in_their_order(rig: Rig) -> None:
    for tag in (1, 2, 3):
        rig.add(tag, ONE)

    await until(lambda: rig.producer.records)

    ((topic, _, value, _),) = rig.producer.records
    assert topic == COMMANDS
    assert [c["id"] for c in msgspec.json.decode(value)] == ["1-0", "2-0", "3-0"]


async def test_no_record_is_larger_than_the_bound(rig: Rig) -> None:
    for tag in range(40):
        rig.add(tag, ONE, size=200)

    await until(lambda: sum(value.count(b"delete_group") for _, _, value, _ in rig.producer.records) == 8000)

    assert len(rig.producer.records) > 1
    assert max(len(value) for _, _, value, _ in rig.producer.records) <= RECORD_BYTES


async def test_nothing_is_acknowledged_until_it_is_reported(rig: Rig) -> None:
    rig.add(1, ONE)
    await until(lambda: rig.producer.records)
    assert rig.channel.acknowledged == []

    rig.producer.report(0)

    await until(lambda: rig.channel.acknowledged == [(1, True)])
    assert len(rig.writing) == 0


async def test_what_is_reported_early_waits_for_those_before_it(rig: Rig) -> None:
    rig.writing.put_aside(1, "bad body", b"x", [])
    rig.add(2, ONE)
    rig.writing.put_aside(3, "bad body", b"x", [])
    await until(lambda: len(rig.producer.records) == 3)
    assert [topic for topic, *_ in rig.producer.records] == [DEAD_LETTERS, DEAD_LETTERS, COMMANDS]

    rig.producer.report(1)  # the third delivery
    rig.producer.report(0)  # the first
    await until(lambda: rig.channel.acknowledged)
    assert rig.channel.acknowledged == [(1, True)]
    rig.producer.report(2)  # the second

    await until(lambda: rig.channel.acknowledged[1:] == [(3, True)])


async def test_a_record_that_fails_stops_all_acknowledgement(rig: Rig) -> None:
    rig.writing.put_aside(1, "bad body", b"x", [])
    rig.writing.put_aside(2, "bad body", b"x", [])

    rig.producer.report(0, KafkaError(KafkaError._MSG_TIMED_OUT))
    rig.producer.report(1)

    with pytest.raises(LostError, match="Kafka"):
        await rig.writing.finished()
    assert rig.channel.acknowledged == []


async def test_what_comes_after_a_failure_is_not_written(rig: Rig) -> None:
    rig.writing.put_aside(1, "bad body", b"x", [])
    rig.producer.report(0, KafkaError(KafkaError._MSG_TIMED_OUT))

    rig.writing.put_aside(2, "bad body", b"x", [])

    assert len(rig.producer.records) == 1
    rig.writing.end()


async def test_an_acknowledgement_that_cannot_be_sent_ends_the_session(rig: Rig) -> None:
    rig.channel.fails = True
    rig.writing.put_aside(1, "bad body", b"x", [])

    rig.producer.report(0)

    with pytest.raises(LostError, match="acknowledgement"):
        await rig.writing.finished()


async def test_it_is_finished_once_all_is_acknowledged(rig: Rig) -> None:
    rig.writing.put_aside(1, "bad body", b"x", [])
    finished = asyncio.create_task(rig.writing.finished())
    await asyncio.sleep(0)
    assert not finished.done()

    rig.producer.report(0)

    await asyncio.wait_for(finished, 60)


async def test_how_long_the_oldest_waits_is_told(rig: Rig) -> None:
    assert rig.writing.oldest_s() == 0
    rig.writing.put_aside(1, "bad body", b"x", [])

    await until(lambda: rig.writing.oldest_s() > 0)


async def test_what_the_producers_queue_has_no_room_for_is_written_once_it_has(rig: Rig) -> None:
    rig.producer.room = 1
    for tag in (1, 2, 3):
        rig.writing.put_aside(tag, "bad body", b"%d" % tag, [])
    assert [value for _, _, value, _ in rig.producer.records] == [b"1"]

    rig.producer.room = 2
    rig.producer.report(0)
    rig.producer.report(1)
    rig.producer.report(2)

    assert [value for _, _, value, _ in rig.producer.records] == [b"1", b"2", b"3"]
    await until(lambda: rig.channel.acknowledged == [(3, True)])
