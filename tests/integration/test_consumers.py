"""The plain consumers of docs/consumers.md over a log with void records: killed, resumed, held to the fenced fold."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from app.cli.launch.java import CHECKOUT
from app.kafka import topics
from app.kafka.consumer import offsets, reader
from app.kafka.leaders import wait_led
from tests.support.void_log import Record, Row, by_chance, by_hand, fold
from tests.support.waiting import eventually

PROGRAMS = CHECKOUT / "docs" / "consumers"
PYTHON, JAVA = PROGRAMS / "plain_consumer.py", PROGRAMS / "PlainConsumer.java"
SEEN_S = 90
BY_CHANCE = 2000
UNRULED = "Unruled"


@pytest.fixture(scope="module")
def log_id(module_broker: str) -> str:
    """The id of a log of two partitions that is empty yet."""
    topics.create(module_broker, "auerbach", partitions=2, replication=1)
    wait_led(module_broker, [topics.EVENTS], 2)
    found = topics.find_log_id(AdminClient({"bootstrap.servers": module_broker}), SEEN_S)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def compiled(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the Java consumer as it is, and of one without the epoch rule."""
    javac = shutil.which("javac") or pytest.fail(
        "no javac (a JRE has none): as root, apt-get install openjdk-17-jdk-headless; the Java consumer needs it"
    )
    folder = tmp_path_factory.mktemp("java")
    ruled = JAVA.read_text()
    unruled = ruled.replace("PlainConsumer", UNRULED).replace("< epoch) {", "< -1) {")
    assert unruled.count("< -1") == 1
    (folder / f"{UNRULED}.java").write_text(unruled)
    programs = [str(JAVA), str(folder / f"{UNRULED}.java")]
    jars = f"{kafka_jars}/*"
    command = [javac, "--release", "17", "-Xlint:all", "-Werror", "-cp", jars, "-d", str(folder), *programs]
    subprocess.run(command, check=True, timeout=300)
    return f"{folder}:{jars}"


class Java:
    """The Java consumer; the lines of its file are its database."""

    def __init__(self, class_path: str, kept: Path, program: str = JAVA.stem) -> None:
        self.kept = kept
        self._java = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", class_path, program)

    def command(self, bootstrap: str) -> tuple[str, ...]:
        return (*self._java, bootstrap, str(self.kept))

    def count(self) -> int:
        return self._lines().count(b'{"type":"event"')

    def rows(self) -> list[Row]:
        values = [line.split(" ", 3)[3] for line in self._lines().decode().split("\n")]
        events = [(value, json.loads(value)) for value in values if value.startswith('{"type":"event"')]
        return [(event["group"], event["seq"], event["kind"], value) for value, event in events]

    def _lines(self) -> bytes:
        return self.kept.read_bytes().rpartition(b"\n")[0] if self.kept.exists() else b""


class Python:
    """The Python consumer and its database."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept

    def command(self, bootstrap: str) -> tuple[str, ...]:
        return (sys.executable, str(PYTHON), bootstrap, str(self.kept))

    def rows(self) -> list[Row]:
        return self._ask('SELECT "group", seq, kind, value FROM events')

    def count(self) -> int:
        return sum(count for (count,) in self._ask("SELECT count(*) FROM events"))

    def place(self, partition: int) -> tuple[int, int]:
        """Offset and epoch."""
        return next(iter(self._ask(f'SELECT "offset", epoch FROM positions WHERE "partition" = {partition}')), (0, -1))

    def _ask(self, sql: str) -> list[tuple]:
        if not self.kept.exists():
            return []
        with closing(sqlite3.connect(self.kept, timeout=30)) as db:
            try:
                return db.execute(sql).fetchall()
            except sqlite3.OperationalError:  # it has not made its tables yet
                return []


Consumer = Python | Java


def append(bootstrap: str, records: list[Record]) -> None:
    """Write those of `records` that are not there yet, each at the offset that it is made for."""
    with reader(bootstrap) as consumer:
        ends = [offsets(consumer, topics.EVENTS, partition)[1] for partition in (0, 1)]
    records = [each for each in records if each.offset() >= ends[each.partition()]]
    placed: list[tuple[int, int]] = []
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for each in records:
        producer.produce(
            topics.EVENTS,
            partition=each.partition(),
            key=each.key(),
            value=each.value(),
            headers=each.headers(),
            on_delivery=lambda _error, message: placed.append((message.partition(), message.offset())),
        )
    assert producer.flush(SEEN_S) == 0
    assert sorted(placed) == sorted((each.partition(), each.offset()) for each in records)


class Runs:
    """Consumers that run; whatever happens, none is left behind."""

    def __init__(self, bootstrap: str, output: Path) -> None:
        self._bootstrap, self._output = bootstrap, output
        self._running: dict[Consumer, subprocess.Popen[bytes]] = {}

    def start(self, *consumers: Consumer) -> None:
        for each in consumers:
            with self._output.open("ab") as out:
                self._running[each] = subprocess.Popen(
                    each.command(self._bootstrap), stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )

    def until(self, consumer: Consumer, look: Callable[[], bool], what: str) -> None:
        """Wait for a condition; fails with what was printed if the consumer ends before."""

        def seen() -> bool:
            ended = self._running[consumer].poll()
            assert ended is None, f"ended with {ended}:\n{self._output.read_text()}"
            return look()

        eventually(seen, within_s=SEEN_S, what=f"{consumer.kept}: {what}")

    def refused(self, consumer: Consumer) -> str:
        """Wait until it has ended by itself; what was printed."""
        assert self._running.pop(consumer).wait(SEEN_S) != 0
        return self._output.read_text()

    def kill(self) -> None:
        for each in self._running.values():
            each.send_signal(signal.SIGKILL)
            each.wait(SEEN_S)
        self._running.clear()


@pytest.fixture
def runs(module_broker: str, tmp_path: Path) -> Iterator[Runs]:
    started = Runs(module_broker, tmp_path / "printed")
    yield started
    started.kill()


def test_both_keep_the_fenced_fold_wherever_they_are_killed(
    module_broker: str, log_id: str, compiled: str, tmp_path: Path, runs: Runs
) -> None:
    hand, chance = by_hand(log_id).records, by_chance(log_id, BY_CHANCE, seed=6).records
    everything = fold(hand + chance)
    python, java = Python(tmp_path / "python"), Java(compiled, tmp_path / "java")

    # Killed right behind a claim, with a void record to come.
    append(module_broker, hand[:4] + chance[:500])
    due = len(fold(hand[:4] + chance[:500]))
    runs.start(python, java)
    runs.until(python, lambda: (python.count(), python.place(0)) == (due, (4, 3)), "the claim at 3")
    runs.until(java, lambda: java.count() == due, f"{due} events")
    runs.kill()

    # Killed at once, while they take in many; then started again to the end.
    append(module_broker, hand[4:] + chance[500:])
    for enough in (due + 1, len(everything)):
        runs.start(python, java)
        for each in (python, java):
            runs.until(each, lambda each=each, enough=enough: each.count() >= enough, f"{enough} events")
        runs.kill()

    assert sorted(python.rows()) == sorted(everything)
    assert sorted(java.rows()) == sorted(everything)


def test_what_a_crash_cut_is_read_again_and_without_the_rule_it_is_seen(
    module_broker: str, log_id: str, compiled: str, tmp_path: Path, runs: Runs
) -> None:
    records = by_hand(log_id).records + by_chance(log_id, BY_CHANCE, seed=6).records
    everything = fold(records)
    append(module_broker, records)
    fresh, java, unruled = (
        Python(tmp_path / "fresh"),
        Java(compiled, tmp_path / "java"),
        Java(compiled, tmp_path / "unruled", UNRULED),
    )
    first, second = (text.encode() for *_, text in fold(by_hand(log_id).records)[:2])
    java.kept.write_bytes(b"0 2 0 " + first + b"\n0 3 0 " + second[: second.index("🎉".encode()) + 2])

    runs.start(fresh, java, unruled)
    for each in (fresh, java, unruled):
        runs.until(each, lambda each=each: each.count() >= len(everything), "all events")
    runs.kill()

    assert sorted(fresh.rows()) == sorted(java.rows()) == sorted(everything)
    # No gap tells that the rule is missing: the void records have the seqs of those that count.
    assert any('"text":"void' in value for *_, value in unruled.rows())


def test_what_is_kept_of_another_log_is_void(
    module_broker: str, log_id: str, compiled: str, tmp_path: Path, runs: Runs
) -> None:
    python, java = Python(tmp_path / "python"), Java(compiled, tmp_path / "java")
    with closing(sqlite3.connect(python.kept)) as db, db:
        db.execute(
            'CREATE TABLE positions ("partition" INTEGER PRIMARY KEY, log TEXT, "offset" INTEGER, epoch INTEGER)'
        )
        db.execute("INSERT INTO positions VALUES (0, 'another', 1, 0)")
    java.kept.write_text('0 1 0 {"type":"claim","log":"another","worker":"w","at":"2026-11-25T01:20:00.000Z"}\n')

    runs.start(python, java)

    assert "the log was replaced" in runs.refused(python)
    assert "IllegalStateException: the log was replaced" in runs.refused(java)
