"""Changelogs on a real broker: what is loaded, what is void, and in which order a flush writes (rules F2 and F3)."""

import asyncio
from collections.abc import Callable
from itertools import count

import pytest
from confluent_kafka import Producer as PlainProducer

from app.domain.events import Event, MemberJoined, MessagePosted, encode_event
from app.domain.state import Group
from app.kafka import consumer, topics
from app.kafka.producer import Producer
from tables import group_rows, loader, rows
from tables.partition_tables import PartitionTables
from tables.store import last_claim, position
from tables.write_behind import FencedError, TableChangelog, WriteBehind
from tests.support.memory_store import MemoryStore

Row = tuple[bytes, bytes | None]

_apps = count()


class Changelog:
    """The changelogs of an app of one partition, written by hand."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        app_id = f"tables-{next(_apps)}"
        topics.create(bootstrap, app_id, partitions=1, replication=1)
        self.topics = topics.changelogs(app_id)
        self._producer = PlainProducer({"bootstrap.servers": bootstrap, "log_level": 2})

    def write(self, *written: Row) -> None:
        for key, row in written:
            self._producer.produce(self.topics["groups"], row, key, 0)
        assert self._producer.flush(90) == 0

    def delete(self, key: bytes, epoch: int) -> None:
        headers = [(loader.EPOCH_HEADER, b"%d" % epoch)]
        self._producer.produce(self.topics["groups"], None, key, 0, headers=headers)
        assert self._producer.flush(90) == 0

    def load(self, store: MemoryStore) -> loader.Loaded:
        return loader.load(self.bootstrap, self.topics["groups"], 0, store)

    def read(self, table: str) -> list[bytes]:
        with consumer.reader(self.bootstrap) as reader:
            low, end = consumer.offsets(reader, self.topics[table], 0)
            return [m.key() for m in consumer.read(reader, self.topics[table], 0, low, end)]


@pytest.fixture
def changelog(module_broker: str) -> Changelog:
    return Changelog(module_broker)


def claim(epoch: int) -> Row:
    return rows.claim_key(epoch), rows.value(epoch, b"w")


def head(group: str, seq: int, epoch: int) -> Row:
    state = Group(group, seq=seq, life="alive", name="n")
    return list(group_rows.part_rows(state, {("head",)}, epoch))[-1]


def test_a_load_brings_the_rows_and_takes_up_where_it_was(changelog: Changelog) -> None:
    store = MemoryStore()
    changelog.write(claim(3), head("g", 1, 3), head("h", 7, 3))
    assert (changelog.load(store).rows, store.offset()) == (3, 2)
    changelog.write(head("g", 2, 3))
    changelog.delete(head("h", 0, 3)[0], 3)
    assert (changelog.load(store).rows, store.offset()) == (2, 4)
    tables = PartitionTables(store, MemoryStore())
    assert (tables.group("g").seq, tables.group("h").life, last_claim(store)) == (2, "none", 3)


def test_a_late_row_of_an_owner_before_is_void_and_its_group_is_marked(changelog: Changelog) -> None:
    store = MemoryStore()
    changelog.write(claim(3), head("g", 5, 3), claim(9), head("g", 6, 9), head("g", 5, 3), head("h", 1, 9))
    loaded = changelog.load(store)
    assert (loaded.rows, loaded.void) == (6, 1)
    assert PartitionTables(store, MemoryStore()).stale_groups() == {"g"}


def test_a_late_deletion_of_an_owner_before_is_void_and_its_group_is_marked(changelog: Changelog) -> None:
    store = MemoryStore()
    changelog.write(claim(3), head("g", 5, 3), claim(9), head("g", 6, 9), head("h", 1, 9))
    changelog.delete(head("g", 0, 3)[0], 3)
    changelog.delete(head("h", 0, 9)[0], 9)
    assert changelog.load(store).void == 1
    assert PartitionTables(store, MemoryStore()).stale_groups() == {"g"}


def test_a_late_position_of_an_owner_before_moves_nothing(changelog: Changelog) -> None:
    store = MemoryStore()
    late = rows.Position(event_offset=1, epoch=3, command_topic_id="t", command_offset=0, command_index=0)
    changelog.write(claim(3), claim(9), (rows.POSITION_KEY, rows.encode_position(AT, 9)))
    changelog.write((rows.POSITION_KEY, rows.encode_position(late, 3)))
    changelog.load(store)
    assert position(store) == AT


def test_the_claim_in_force_is_remembered_between_loads(changelog: Changelog) -> None:
    store = MemoryStore()
    changelog.write(claim(9))
    changelog.load(store)
    changelog.write(head("g", 5, 3))
    assert changelog.load(store).void == 1


def test_a_table_beyond_its_changelog_is_another_logs(changelog: Changelog) -> None:
    store = MemoryStore()
    store.write([], 5)
    changelog.write(claim(3))
    with pytest.raises(loader.BeyondEndError, match="offset 5, the changelog ends at 1"):
        changelog.load(store)


async def opened(
    changelog: Changelog, epoch: int, tables: PartitionTables
) -> tuple[Producer, dict[str, TableChangelog]]:
    producer = Producer(changelog.bootstrap)
    logs = {
        name: TableChangelog(producer, changelog.bootstrap, topic, 0, tables.stores[name])
        for name, topic in changelog.topics.items()
    }
    for name, each in logs.items():
        await each.claim(epoch, "w")
        loaded = await asyncio.to_thread(loader.load, changelog.bootstrap, each.topic, 0, tables.stores[name])
        each.loaded(loaded.offset)
    return producer, logs


def post(seq: int, data: MessagePosted | MemberJoined | None = None) -> Event:
    data = data or MessagePosted(text="t")
    return Event(
        group="g", seq=seq, id=str(seq), kind=data.kind, by="a", at="2026-11-25T01:20:00.123Z",
        client_msg_id=f"m{seq}", data=data,
    )  # fmt: skip


AT = rows.Position(event_offset=9, epoch=4, command_topic_id="t", command_offset=7, command_index=2)


async def test_a_flush_writes_a_groups_head_after_its_other_rows_and_the_position_last(changelog: Changelog) -> None:
    tables = PartitionTables(MemoryStore(), MemoryStore())
    producer, logs = await opened(changelog, 4, tables)
    for seq in (1, 2):
        tables.apply(post(seq), encode_event(post(seq)))
    joined = post(3, MemberJoined(user="b", role="member"))
    tables.apply(joined, encode_event(joined))
    await WriteBehind(tables, logs, 4).flush(tables.snapshot(4), AT)
    await producer.close(5)
    keys = await asyncio.to_thread(changelog.read, "groups")
    assert keys[0] == rows.claim_key(4)
    assert sorted(keys[1:5]) == [b"g\0mb", b"g\0sa\0m1", b"g\0sa\0m2", b"g\0sa\0m3"]
    assert keys[5:] == [b"g\0h", rows.POSITION_KEY]
    history = await asyncio.to_thread(changelog.read, "history")
    assert history[1:4] == [rows.event_key("g", seq) for seq in (1, 2, 3)]
    assert history[-1] == rows.POSITION_KEY
    assert all(
        (position(store), store.offset()) == (AT, end)
        for store, end in zip(tables.stores.values(), (6, 5), strict=True)
    )


async def test_the_store_is_never_ahead_of_the_changelog(changelog: Changelog, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = PartitionTables(MemoryStore(), MemoryStore())
    producer, logs = await opened(changelog, 4, tables)
    tables.apply(post(1), encode_event(post(1)))
    append: Callable[..., object] = TableChangelog.append

    async def failing(self: TableChangelog, changes: list[Row]) -> None:
        if changes[0][0] == rows.POSITION_KEY:
            raise ConnectionError("the broker is gone")
        await append(self, changes)  # type: ignore[misc]

    monkeypatch.setattr(TableChangelog, "append", failing)
    with pytest.raises(ConnectionError):
        await WriteBehind(tables, logs, 4).flush(tables.snapshot(4), AT)
    await producer.close(5)
    assert all(position(store) is None for store in tables.stores.values())
    assert tables.stores["history"].get(rows.event_key("g", 1)) is None


async def test_a_newer_claim_in_the_changelog_ends_the_writing(changelog: Changelog) -> None:
    tables = PartitionTables(MemoryStore(), MemoryStore())
    producer, logs = await opened(changelog, 4, tables)
    changelog.write(claim(8))
    with pytest.raises(FencedError):
        await logs["groups"].append([head("g", 1, 4)])
    await producer.close(5)


async def test_a_newer_claim_is_seen_while_loading(changelog: Changelog) -> None:
    changelog.write(claim(8))
    with pytest.raises(FencedError):
        await opened(changelog, 4, PartitionTables(MemoryStore(), MemoryStore()))


async def test_late_rows_of_an_owner_before_are_written_over_whatever_they_were(changelog: Changelog) -> None:
    tables = PartitionTables(MemoryStore(), MemoryStore())
    producer, logs = await opened(changelog, 4, tables)
    for seq in (1, 2):
        tables.apply(post(seq), encode_event(post(seq)))
    await WriteBehind(tables, logs, 4).flush(tables.snapshot(4), AT)
    # A head of long ago, a key that nobody has, and the end of one that is there.
    changelog.write(head("g", 1, 2), (b"g\0mghost", rows.value(2, b'["owner",1,0]')))
    changelog.delete(b"g\0sa\0m1", 2)
    tables.apply(post(3), encode_event(post(3)))
    await WriteBehind(tables, logs, 4).flush(tables.snapshot(4), AT)
    await producer.close(5)
    store = MemoryStore()
    await asyncio.to_thread(changelog.load, store)
    right = tables.stores["groups"]
    assert dict(store.scan(b"g\0")) == dict(right.scan(b"g\0"))
    assert store.get(b"g\0mghost") is None
    assert right.offset() == store.offset()


async def test_the_claims_of_owners_before_go_when_all_is_healed(changelog: Changelog) -> None:
    changelog.write(claim(1), claim(3))
    tables = PartitionTables(MemoryStore(), MemoryStore())
    producer, logs = await opened(changelog, 4, tables)
    writing = WriteBehind(tables, logs, 4)
    await writing.flush(tables.snapshot(4), AT)
    assert [key for key, _ in tables.stores["groups"].scan(rows.CLAIM_PREFIX)] == [rows.claim_key(e) for e in (1, 3, 4)]
    writing.healed = {"groups", "history"}
    await writing.flush(tables.snapshot(4), AT)
    await producer.close(5)
    store = MemoryStore()
    await asyncio.to_thread(changelog.load, store)
    for each in (store, tables.stores["groups"]):
        assert [key for key, _ in each.scan(rows.CLAIM_PREFIX)] == [rows.claim_key(4)]
