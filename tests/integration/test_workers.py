"""Several processors on one broker: who has which partitions when one joins, stops, dies, or cannot read its data."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from rocksdict import AccessType, Options, Rdict

from app.domain.commands import CreateGroup, Send
from app.domain.events import Event, MessagePosted, encode_event
from app.kafka import topics
from app.kafka.leaders import wait_led
from app.log.records import CommandPlace, event_headers
from app.reads import ReadState
from tables import rows
from tables.standby import Standby
from tests.support import sabotage
from tests.support.driver import ORIGIN, WITHIN_S, Driver, ask_once
from tests.support.memory_store import MemoryStore
from tests.support.processors import Processor, owned_by, owners, processors
from tests.support.until import until
from tests.support.waiting import eventually

PARTITIONS = 2
LONG_SESSION = "300"  # whoever had to wait for it would fail the test


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    names = topics.create(module_broker, "auerbach", PARTITIONS, 1)
    wait_led(module_broker, names, PARTITIONS)
    return Driver(module_broker)


@pytest.fixture
def workers(driver: Driver, tmp_path: Path) -> Iterator[list[Processor]]:
    """Two worker slots that a long silence does not cost their places."""
    with processors(driver, tmp_path, 2, AUERBACH_SESSION_TIMEOUT_S=LONG_SESSION) as slots:
        yield slots


@pytest.fixture
def mortal(driver: Driver, tmp_path: Path) -> Iterator[sabotage.Processor]:
    """The second slot, with the shortest session there is; until it is killed, no pause of the machine ends it."""
    worker = sabotage.Processor(driver.bootstrap, tmp_path / "mortal", "processor-1", AUERBACH_SESSION_TIMEOUT_S="6")
    yield worker
    worker.kill()


@pytest.fixture
def groups(driver: Driver, new_group: Callable[[], str]) -> dict[int, str]:
    """A group's name in each partition."""
    found: dict[int, str] = {}
    while len(found) < PARTITIONS:
        name = new_group()
        found.setdefault(driver.partition(name), name)
    return found


def create(driver: Driver, groups: dict[int, str]) -> None:
    for name in groups.values():
        driver.send(CreateGroup(id=driver.next_id(), group=name, by="olga", origin=ORIGIN, name="n", join="open"))
        driver.wait_for_events(name, 1)


def post(driver: Driver, group: str, text: str, key: str | None = None) -> Send:
    command_id = driver.next_id()
    return Send(id=command_id, group=group, by="olga", origin=ORIGIN, client_msg_id=key or command_id, text=text)


def both_open(driver: Driver, workers: list[Processor]) -> int:
    """Start both, one after the other; the partition of the second."""
    first, second = workers
    first.start_open()
    second.start_open(1)
    return partition_of(driver, second.name)


def partition_of(driver: Driver, worker: str) -> int:
    """The one partition of a worker that has just opened it."""
    (number,) = eventually(lambda: owned_by(driver, worker), within_s=WITHIN_S, what="each has one")
    return number


def rows_on_disk(worker: Processor, table: str, partition: int) -> dict[bytes, bytes]:
    """The rows that a running worker has of a partition."""
    (path,) = (worker.data / "tables" / worker.name).rglob(f"{table}-{partition}.db")
    db = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    try:
        return dict(db.items())
    finally:
        db.close()


def test_who_stood_by_takes_over_with_its_own_rows_and_loses_nothing(
    driver: Driver, workers: list[Processor], mortal: sabotage.Processor, groups: dict[int, str]
) -> None:
    standing_by, _ = workers
    standing_by.start_open()
    mortal.start(off=("leave after a pause",))
    mortal.wait_open(1)
    number = partition_of(driver, mortal.slot)
    create(driver, groups)
    group = groups[number]
    first = post(driver, group, "0", key="k")
    driver.send(first, *(post(driver, group, str(n)) for n in range(1, 20)))
    driver.wait_for_events(group, 21)

    def copied() -> bool:
        with contextlib.suppress(Exception):  # opened while it writes, or nothing is there yet
            # Two tables, two topics: either may be copied before the other.
            position = rows.decode_position(rows_on_disk(standing_by, "groups", number)[rows.POSITION_KEY])
            history = rows_on_disk(standing_by, "history", number)
            return position.event_offset > 20 and rows.event_key(group, 21) in history
        return False

    eventually(copied, within_s=WITHIN_S, what="the rows at the worker that stands by")
    mortal.kill()
    again = post(driver, group, "0", key="k")
    driver.send(again, post(driver, group, "20"))
    assert [e.seq for e in driver.wait_for_events(group, 22)] == list(range(1, 23))
    assert driver.outcome(again.id).seq == 2
    eventually(lambda: owned_by(driver, standing_by.name) == set(groups), within_s=WITHIN_S, what="it has both")


def test_a_worker_that_is_stopped_gives_its_partitions_to_the_others_at_once(
    driver: Driver, workers: list[Processor], groups: dict[int, str]
) -> None:
    staying, stopping = workers
    number = both_open(driver, workers)
    create(driver, groups)
    driver.send(post(driver, groups[number], "there"))
    driver.wait_for_events(groups[number], 2)
    assert stopping.stop() == 0
    for group in groups.values():
        driver.send(post(driver, group, "here"))
        count = 3 if group == groups[number] else 2
        assert [e.seq for e in driver.wait_for_events(group, count)] == list(range(1, count + 1))
    # It lost the partition and regained it: what it serves is what happened elsewhere meanwhile.
    (state,) = driver.ask(ReadState(group=groups[number], user="olga", end=driver.end(groups[number])))
    assert state.seq == 3
    eventually(lambda: owned_by(driver, staying.name) == set(groups), within_s=WITHIN_S, what="it has both")


def test_workers_that_are_stopped_together_all_end_in_order(driver: Driver, workers: list[Processor]) -> None:
    both_open(driver, workers)
    for each in workers:
        each.kill(signal.SIGTERM)
    assert [each.wait_for_exit() for each in workers] == [0, 0]
    assert all("left the group" in each.printed() for each in workers)


def test_a_worker_that_is_killed_and_comes_back_has_its_partitions_and_disturbs_nobody(
    driver: Driver, workers: list[Processor], groups: dict[int, str]
) -> None:
    other, dying = workers
    number = both_open(driver, workers)
    create(driver, groups)
    before = owners(driver)
    dying.kill()
    driver.send(post(driver, groups[number], "meanwhile"))
    dying.start_open(1)
    assert [e.seq for e in driver.wait_for_events(groups[number], 2)] == [1, 2]
    eventually(lambda: owners(driver)[number].epoch > before[number].epoch, within_s=WITHIN_S, what="its new claim")
    now = owners(driver)
    assert now[number].worker == dying.name
    assert {n: now[n] for n in groups if n != number} == {n: before[n] for n in groups if n != number}
    assert owned_by(driver, other.name) == set(groups) - {number}


async def test_rows_of_a_fenced_owner_are_void_for_who_stands_by(driver: Driver) -> None:
    made = topics.create(driver.bootstrap, "standing-by", PARTITIONS, 1)
    wait_led(driver.bootstrap, made, PARTITIONS)
    topic = topics.groups_changelog("standing-by")
    changelog = Producer({"bootstrap.servers": driver.bootstrap})

    def append(key: bytes, epoch: int, payload: bytes) -> None:
        changelog.produce(topic, rows.value(epoch, payload), key, 1)

    append(b"g\x00h", 3, b"theirs")
    append(rows.claim_key(5), 5, b"processor-1")
    assert changelog.flush(WITHIN_S) == 0
    store = MemoryStore()
    standby = Standby(driver.bootstrap, topic, [1], {1: store}.__getitem__, every_s=0.05)
    standby.start()
    await until(lambda: store.offset() == 1)
    append(b"g\x00h", 3, b"late")
    append(b"h\x00h", 5, b"the owner's")
    await asyncio.to_thread(changelog.flush, WITHIN_S)
    await until(lambda: store.offset() == 3)
    await standby.stop()
    assert store.get(rows.stale_key("g")) is not None  # whoever opens it builds it anew
    assert store.get(rows.stale_key("h")) is None
    assert store.get(b"h\x00h") == rows.value(5, b"the owner's")
    append(b"h\x00h", 5, b"behind")
    await asyncio.to_thread(changelog.flush, WITHIN_S)
    assert store.offset() == 3


def committed(driver: Driver, partition: int) -> int:
    """Up to where the consumer group has decided commands."""
    group = Consumer({"bootstrap.servers": driver.bootstrap, "group.id": "auerbach"})
    try:
        (at,) = group.committed([TopicPartition(topics.COMMANDS, partition)], timeout=WITHIN_S)
        return int(at.offset)
    finally:
        group.close()


def append_an_event_of_the_future(driver: Driver, group: str) -> None:
    """The group's next event as a newer version than ours would write it."""
    event = Event(
        group=group, seq=2, id="n", kind="message.sung", by="olga", at=driver.events(group)[0].at,
        data=MessagePosted(text="la"),
    )  # fmt: skip
    headers = event_headers(
        event, epoch=driver.owner(group).epoch, command_id="n", topic_id="t", place=CommandPlace(0, 0)
    )
    producer = Producer({"bootstrap.servers": driver.bootstrap})
    producer.produce(topics.EVENTS, encode_event(event), group.encode(), driver.partition(group), headers=headers)
    assert producer.flush(WITHIN_S) == 0


# The last one: the event stays in the log.
def test_an_event_of_an_unknown_kind_stops_its_partition_and_no_other(
    driver: Driver, workers: list[Processor], groups: dict[int, str]
) -> None:
    worker, _ = workers
    worker.start_open()
    create(driver, groups)
    broken, fine = groups.values()
    number = driver.partition(broken)
    assert worker.stop() == 0
    append_an_event_of_the_future(driver, broken)
    driver.send(post(driver, broken, "kept for who can read it"))
    before = committed(driver, number)
    worker.start_open(PARTITIONS - 1)
    worker.wait_printed("partition stopped")
    assert "UnknownKindError: message.sung" in worker.printed()
    driver.send(post(driver, fine, "served"))
    eventually(
        lambda: driver.ask(ReadState(group=fine, user="olga", end=driver.end(fine)))[0].seq == 2,
        within_s=WITHIN_S,
        what="the other partition serves",
    )
    url = driver.owner(fine).url
    (answer,) = ask_once(url, ReadState(group=fine, user="olga", end=0), ReadState(group=broken, user="olga", end=0))[
        1:
    ]
    assert answer.missing == "not_owner"
    assert worker.stop() == 0
    assert committed(driver, number) == before
