"""`python -m app verify` over real logs: a faulty one, fault by fault; one of owners whose rows were tampered with;
and that of the service that all tests share, while it runs."""

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from auerbach_client import Client
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from app.domain.commands import CreateGroup, Delete, DeleteGroup, Edit, PruneHistory, React
from app.domain.events import decode_event
from app.domain.outcomes import Rejection
from app.kafka import topics
from app.kafka.partition import partition_for
from app.log.records import CommandPlace
from app.reads import Answer, OwnerRecord, StateView, decode_reads, encode_answers, encode_owner
from tables import history_rows, loader, rows
from tests.support.audit import APP, Witness, begin
from tests.support.driver import Driver
from tests.support.owners import World
from tests.support.stack import Stack, clean_environment
from tests.support.until import until
from tests.support.written_log import Raw, WrittenLog

PARTITIONS = 16
SOUND, TAMPERED = 0, 1  # the partitions of real owners; the others are written by hand
LATE = 14  # the one whose beginning is not kept
VERIFY_S = 120
ACKED = 20


def verify(env: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; its exit code and its report."""
    ran = subprocess.run(
        [sys.executable, "-m", "app", "verify", "--json", *arguments],
        env=env,
        capture_output=True,
        timeout=VERIFY_S,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stderr.decode()
    return ran.returncode, msgspec.json.decode(ran.stdout)


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


@pytest.fixture(scope="module")
def faulty(module_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """The faulty log, written once."""
    log = Faulty(begin(module_broker, PARTITIONS), tmp_path_factory.mktemp("verify"))
    asyncio.run(write_tables(log))
    write_faults(log)
    log.flush()
    admin = AdminClient({"bootstrap.servers": module_broker})
    for future in admin.delete_records([TopicPartition(topics.EVENTS, LATE, 4)]).values():
        future.result(timeout=30)
    return log


@pytest.fixture(scope="module")
def report(faulty: Faulty) -> dict[str, Any]:
    """What `verify` says of it."""
    code, said = verify(environment(faulty), "--no-owners", "--acks", str(faulty.acks))
    assert code == 1
    return said


def environment(log: Faulty) -> dict[str, str]:
    return clean_environment(KAFKA_BOOTSTRAP=log.driver.bootstrap)


def test_each_fault_is_found_at_its_place_and_nothing_else_is(faulty: Faulty, report: dict[str, Any]) -> None:
    found = {(f["kind"], f["partition"], f["offset"], f["group"]) for f in report["findings"]}

    assert found == faulty.expected
    assert not report["clean"]


def test_void_records_are_counted_by_claim(faulty: Faulty, report: dict[str, Any]) -> None:
    assert report["voided"] == faulty.voided


def test_each_row_that_is_not_what_the_log_makes_is_named(report: dict[str, Any]) -> None:
    told = [(f["seq"], f["what"]) for f in report["findings"] if f["kind"] == "history"]

    assert sorted(told) == [
        (0, "its marks row is missing"),
        (5, "its event row is not what the log makes"),
        (99, "its event row has nothing in the log"),
    ]


def test_what_cannot_be_compared_is_said(report: dict[str, Any]) -> None:
    assert report["begins_late"] == {str(LATE): 4}
    assert report["unproven"] == {
        "groups with void rows, which their next owner builds anew: their rows": 1,
        "groups whose log has a fault: their rows": 3,
        "groups whose life began before the log that is kept: their rows": 1,
        "groups whose life began before the log that is kept: their fold": 1,
        "acknowledgements of groups whose beginning is not kept": 1,
    }


def test_a_client_log_that_is_cut_in_its_last_line_is_read_up_to_there(faulty: Faulty, report: dict[str, Any]) -> None:
    assert report["cut"] == [str(faulty.acks)]
    assert report["acks"] == 3


@pytest.fixture
def lying_owner(faulty: Faulty) -> Iterator[str]:
    """Says of each group of the sound partition that it has no members; the group of which it does."""
    witness = Witness(faulty.driver, (SOUND,))
    events = witness.log()
    end = witness.read(topics.EVENTS)[-1].offset() + 1
    witness.close()
    heads = {v.event.group: v.event.seq for v in events}
    epoch = max(v.record.epoch for v in events)

    class Lies(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reads = decode_reads(self.rfile.read(int(self.headers["Content-Length"])))
            said = encode_answers([self._answer(read.group) for read in reads])
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def _answer(self, group: str) -> Answer:
            if heads[group] == 2:  # it was created and deleted
                return Answer(refusal=Rejection("no_such_group", ""), seq=2, offset=end, epoch=epoch)
            state = StateView(name="n", topic="", join="open", history="all", first=1, seq=heads[group], members=[])
            return Answer(state=state, seq=heads[group], offset=end, epoch=epoch)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lies)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    owner = OwnerRecord(url=url, epoch=epoch, offset=end, worker="w", log=faulty.driver.layout.log_id)
    key = str(SOUND).encode()
    where = partition_for(key, PARTITIONS)
    faulty.produce(topics.OWNERS, where, Raw(-1, key, encode_owner(owner), []))
    faulty.flush()
    yield next(group for group, seq in heads.items() if seq > 2)
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_an_owner_that_tells_another_state_and_one_that_is_away_are_findings(faulty: Faulty, lying_owner: str) -> None:
    code, said = verify(environment(faulty), "--no-tables", "--owners-within", "0")

    told = [f for f in said["findings"] if f["kind"] == "owner"]
    (lie,) = [f for f in told if f["partition"] == SOUND]
    assert (lie["group"], lie["what"]) == (lying_owner, "members: its state is not the fold of the log")
    assert code == 1
    away = {f["partition"] for f in told if "no answer about" in f["what"]}
    assert away == {TAMPERED, 4, 5, 6, 8, 9, 10, 11, 12, 13, LATE}  # of 2, 3 and 7 no group can be folded


async def _chat(stack: Stack, group: str, acks: Path, ended: asyncio.Event) -> None:
    """Talk until `ended`, and write down what was acknowledged before the first look at it."""
    async with Client(stack.http_url(), user="olga") as olga, Client(stack.http_url(1), user="paul") as paul:
        await olga.create_group(group, name="n", join="open", client_msg_id="create")
        await paul.join(group)
        for n in itertools.count():
            user, who = (("olga", olga), ("paul", paul))[n % 2]
            ack = await who.send(group, f"{n}", client_msg_id=f"{n}")
            if n < ACKED:
                told = {"group": group, "user": user, "client_msg_id": f"{n}", "seq": ack.seq}
                with acks.open("ab") as out:
                    out.write(msgspec.json.encode(told) + b"\n")
            if ended.is_set():
                return


def test_the_log_of_a_service_that_runs_is_clean(stack: Stack, new_group: Callable[[], str], tmp_path: Path) -> None:
    group, acks = new_group(), tmp_path / "acks.jsonl"

    async def look() -> tuple[int, dict[str, Any]]:
        ended = asyncio.Event()
        chat = asyncio.create_task(_chat(stack, group, acks, ended))
        await until(lambda: acks.exists() and acks.read_bytes().count(b"\n") == ACKED, within_s=60)
        try:
            return await asyncio.to_thread(verify, stack.env, "--acks", str(acks))
        finally:
            ended.set()
            await chat

    code, said = asyncio.run(look())

    assert (code, said["findings"]) == (0, [])
    assert said["acks"] == ACKED
    assert said["tables_compared"] >= 1
    assert said["history_rows_compared"] >= ACKED + 2
    assert said["owners_compared"] >= 1
