"""A log with a fault in each of its partitions, and two real owners' tables, one of them tampered with."""

from dataclasses import replace
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from app.domain.commands import CreateGroup, Delete, DeleteGroup, Edit, PruneHistory, React
from app.domain.events import decode_event
from app.kafka import topics
from app.log.records import CommandPlace
from tables import history_rows, loader, rows
from tests.support.audit import APP
from tests.support.driver import Driver
from tests.support.owners import World
from tests.support.written_log import Raw, WrittenLog

PARTITIONS = 16
SOUND, TAMPERED = 0, 1  # the partitions of real owners; the others are written by hand
LATE = 14  # the one whose beginning is not kept


class Faulty:
    """A log with a fault in each of its partitions, and what `verify` must find."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        self.driver = driver
        self.acks = folder / "acks.jsonl"
        self.expected: set[tuple[str, int, int, str | None]] = set()
        self.voided: list[dict[str, int]] = []
        self._names = (f"faulty-{n}" for n in range(100_000))
        self._producer = Producer({"bootstrap.servers": driver.bootstrap, "log_level": 2})

    def group(self, partition: int) -> str:
        """A group of that partition."""
        return next(name for name in self._names if self.driver.partition(name) == partition)

    def begin(self, partition: int) -> tuple[WrittenLog, str]:
        """A claim, a group and two messages."""
        log = WrittenLog(partition, self.driver.layout.log_id, self.driver.layout.commands_topic_id)
        group = self.group(partition)
        log.claim()
        log.create(group)
        log.post(group, "one")
        log.post(group, "two")
        return log, group

    def write(self, log: WrittenLog, kind: str, offset: int, group: str | None) -> None:
        """Append a partition, in which this must be found."""
        for record in log.records:
            self.produce(topics.EVENTS, log.partition, record)
        self.expected.add((kind, log.partition, offset, group))

    def produce(self, topic: str, partition: int, record: Raw) -> None:
        """Append a record to any topic."""
        self._producer.produce(topic, record.value, record.key, partition, headers=record.headers)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker holds it."""
        assert self._producer.flush(30) == 0


def write_faults(log: Faulty) -> None:
    """A fault a partition, from 2 on."""
    written, g = log.begin(2)
    lost, after = written.post(g, "lost"), written.post(g, "after")
    written.records = [
        each if each.offset < lost.offset else replace(each, offset=each.offset - 1)
        for each in written.records
        if each is not lost
    ]
    log.write(written, "gap", after.offset - 1, g)

    written, g = log.begin(3)
    event = decode_event(written.records[-1].value or b"")
    topic = log.driver.layout.commands_topic_id
    again = written.write(
        msgspec.structs.replace(event, id=f"{topic}.3.50.0", client_msg_id="other"), CommandPlace(50, 0)
    )
    log.write(written, "doubled", again.offset, g)

    written, g = log.begin(4)
    event = decode_event(written.records[-1].value or b"")
    again = written.write(msgspec.structs.replace(event, seq=4, client_msg_id="other"), CommandPlace(2, 0))
    log.write(written, "decided-twice", again.offset, g)

    written, g = log.begin(5)
    written.groups[g].sent.clear()
    log.write(written, "accepted-twice", written.post(g, "again", key="one").offset, g)

    written, g = log.begin(6)
    written.groups[g].at_ms, written.now_ms = 0, written.now_ms - 1
    log.write(written, "back", written.post(g, "back").offset, g)

    written, g = log.begin(7)
    bad = written.post(g, "bad")
    written.alter(bad, replace(bad, value=b"no event"))
    log.write(written, "undecodable", bad.offset, g)

    written, g = log.begin(8)
    log.write(written, "undecodable", written.append(b"key", b"no headers", []).offset, None)

    written, g = log.begin(9)
    bad = written.post(g, "bad")
    written.alter(bad, bad.but(ce_id=b"another"))
    log.write(written, "contradiction", bad.offset, g)

    written, g = log.begin(10)
    astray = log.group(11)
    log.write(written, "misplaced", written.create(astray).offset, astray)

    written, g = log.begin(11)
    log.write(written, "foreign-claim", written.claim("another log"), None)

    written, g = log.begin(12)
    written.epoch = 9
    log.write(written, "no-claim", written.post(g, "three").offset, g)

    written, g = log.begin(13)  # no fault but an acknowledgement
    late = written.records[-1]
    claim = written.claim()
    for seq in (b"3", b"4"):
        written.again(late, seq=seq)
    log.write(written, "ack", -1, g)
    log.voided.append({"partition": 13, "claim": claim, "records": 2})
    told = [{"group": g, "user": "olga", "client_msg_id": "one", "seq": 2, "more": 1}]
    told.append({"group": g, "user": "olga", "client_msg_id": "void", "seq": 4})

    written, g = log.begin(LATE)
    written.post(g, "three")
    written.claim()
    written.post(g, "four")
    written.create(log.group(LATE))
    for record in written.records:
        log.produce(topics.EVENTS, LATE, record)
    told.append({"group": g, "user": "olga", "client_msg_id": "one", "seq": 2})
    log.acks.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in told) + b'{"group":"cu')


async def write_tables(log: Faulty) -> None:
    """Two partitions of real owners: one sound, one whose rows are tampered with afterwards."""
    for partition in (SOUND, TAMPERED):
        world = World(log.driver, partition)
        owner = await world.owner()
        await world.send(world.create(), *(world.post(f"{n}") for n in range(6)), world.join("paul"))
        fields = {"group": world.group, "by": "olga"}
        await world.send(
            Edit(id="1", **fields, seq=2, text="edited"),
            Edit(id="2", **fields, seq=3, text="edited"),
            React(id="3", **fields, seq=4, emoji="+"),
            Delete(id="4", **fields, seq=3),
            PruneHistory(id="5", group=world.group, by=None, through=2),
            CreateGroup(id="6", group=world.other, by="olga", name="n"),
            DeleteGroup(id="7", group=world.other, by="olga"),
        )
        await owner.take()
        await owner.settle()
        await owner.flush()
        if partition == TAMPERED:
            _tamper(log, world, owner.partition.log.epoch)
        else:
            await owner.flush()
            await world.send(world.post("not flushed"))
            await owner.take()
            await owner.settle()
            _write_late(log, world, owner.partition.log.epoch)
        await world.close()


def _write_late(log: Faulty, world: World, epoch: int) -> None:
    """A row of a fenced owner, behind the claim of the one that fenced it."""
    row = rows.value(epoch - 1, b'["owner",1,0]')
    log.produce(topics.groups_changelog(APP), SOUND, Raw(-1, rows.group_prefix(world.other) + b"mmallory", row, []))


def _tamper(log: Faulty, world: World, epoch: int) -> None:
    groups, history = topics.groups_changelog(APP), topics.history_changelog(APP)
    owner = rows.value(epoch, b'["owner",1,0]')
    put: list[tuple[str, bytes, bytes | None]] = [
        (groups, rows.group_prefix(world.group) + b"mmallory", owner),
        (history, rows.event_key(world.group, 5), rows.value(epoch, b'{"another":"event"}')),
        (history, rows.event_key(world.group, 99), rows.value(epoch, b"{}")),
        (history, history_rows.marks_key(world.group, 0), None),
    ]
    for topic, key, row in put:
        headers = [(loader.EPOCH_HEADER, b"%d" % epoch)]
        log.produce(topic, TAMPERED, Raw(-1, key, row, headers))
    log.expected |= {
        ("groups", TAMPERED, -1, world.group),
        ("history", TAMPERED, -1, world.group),
    }
