"""`python -m app verify` over real logs: a faulty one, fault by fault; one of owners whose rows were tampered with;
and that of the service that all tests share, while it runs."""

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from auerbach_client import Client
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.domain.outcomes import Rejection
from app.kafka import topics
from app.kafka.partition import partition_for
from app.reads import Answer, OwnerRecord, StateView, decode_reads, encode_answers, encode_owner
from tests.support.audit import Witness, begin
from tests.support.driver import Driver
from tests.support.faulty_log import LATE, PARTITIONS, SOUND, TAMPERED, Faulty, write_faults, write_tables
from tests.support.stack import Stack, clean_environment
from tests.support.until import until
from tests.support.written_log import Raw

VERIFY_S = 300
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


@pytest.fixture(scope="module")
def faulty(module_broker: str, tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """The faulty log, written once."""
    log = Faulty(begin(module_broker, PARTITIONS), tmp_path_factory.mktemp("verify"))
    asyncio.run(write_tables(log))
    write_faults(log)
    log.flush()
    admin = AdminClient({"bootstrap.servers": module_broker})
    for future in admin.delete_records([TopicPartition(topics.EVENTS, LATE, 4)]).values():
        future.result(timeout=90)
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


def wait_written(stack: Stack, group: str) -> None:
    """Wait until the tables hold what a group has said until now: of what they lack nothing is compared."""
    driver = Driver(stack.bootstrap)
    with closing(Witness(driver)) as witness:
        witness.wait_written([driver.partition(group)])


def test_the_log_of_a_service_that_runs_is_clean(stack: Stack, new_group: Callable[[], str], tmp_path: Path) -> None:
    group, acks = new_group(), tmp_path / "acks.jsonl"

    async def look() -> tuple[int, dict[str, Any]]:
        ended = asyncio.Event()
        chat = asyncio.create_task(_chat(stack, group, acks, ended))
        await until(lambda: acks.exists() and acks.read_bytes().count(b"\n") == ACKED, within_s=120)
        try:
            await asyncio.to_thread(wait_written, stack, group)
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
