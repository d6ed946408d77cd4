"""What the benchmarks stand on: a broker of their own, processors and gateways in processes, their CPU time and memory.

Everything is on free ports of the loopback, in a temporary folder, and ends with the `with` block.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from confluent_kafka import Producer, TopicPartition

from app.domain.commands import Command, CreateGroup, MemberSpec, Send, encode_command
from app.kafka import consumer, topics
from app.kafka.leaders import wait_led
from app.kafka.partition import partition_for
from tests.support.ports import free_ports
from tests.support.stack import Broker, clean_environment, following
from tests.support.waiting import eventually

APP_ID = "auerbach"
OWNER = "user-0"
TEXT = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod tempor invidunt ut."
OPEN = b'"event": "partition open"'
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_START_S = 90
_STOP_S = 30


class Place(Protocol):
    """Where processes run: a folder of theirs, and a broker."""

    folder: Path
    bootstrap: str


class Part:
    """A process of the service, or of its limit, started when it is made: `python PROGRAM`."""

    def __init__(self, lab: Place, name: str, program: Sequence[str], **settings: str) -> None:
        self.began = time.monotonic()
        self._output = lab.folder / f"{name}.{time.monotonic_ns()}.out"
        settings = {"KAFKA_BOOTSTRAP": lab.bootstrap, "DATA": str(lab.folder), "AUERBACH_APP_ID": APP_ID, **settings}
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                env=clean_environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=following(),  # noqa: PLW1509 - one C call
            )

    def printed(self) -> bytes:
        """What it has printed until now.

        Raises:
            RuntimeError: it has ended.
        """
        printed = self._output.read_bytes()
        if self.process.poll() is not None:
            raise RuntimeError(f"the process ended:\n{printed[-2000:].decode(errors='replace')}")
        return printed

    def cpu_s(self) -> float:
        """The CPU time of all its threads until now, seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """Its memory now, or with `VmHWM` at its highest since `forget_peak`."""
        (line,) = [x for x in self._proc("status").read_text().splitlines() if x.startswith(f"{what}:")]
        return int(line.split()[1]) * 1024

    def forget_peak(self) -> None:
        """From now on the highest memory is counted anew (proc(5), clear_refs)."""
        self._proc("clear_refs").write_text("5")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}") / name


P = TypeVar("P", bound=Part)


class Worker(Part):
    """One processor."""

    def __init__(self, lab: "Lab", name: str, *, program: Sequence[str] = ("-m", "app", "processor")) -> None:
        super().__init__(lab, name, [*program, "--worker", name])

    def wait_open(self, partitions: int, within_s: float = _START_S) -> float:
        """Wait until it has opened so many partitions; the seconds since its start."""
        eventually(
            lambda: self.printed().count(OPEN) >= partitions, within_s=within_s, what=f"{partitions} partitions open"
        )
        return time.monotonic() - self.began


class Gateway(Part):
    """One gateway, in development mode, on a free port of its own."""

    def __init__(
        self, lab: "Lab", name: str, *, program: Sequence[str] = ("-m", "app", "gateway"), **settings: str
    ) -> None:
        self.port = free_ports(1)
        arguments = ["--gateway", name, "--port", str(self.port)]
        super().__init__(lab, name, [*program, *arguments], **{"AUERBACH_AUTH": "dev", **settings})

    def wait_ready(self, within_s: float = _START_S) -> None:
        """Wait until it says that it can serve."""
        eventually(self._is_ready, within_s=within_s, what="the gateway is ready")

    def _is_ready(self) -> bool:
        self.printed()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Lab:
    """A broker with the service's topics, and who writes commands and looks at the log's ends."""

    def __init__(self, folder: Path, bootstrap: str, partitions: int, ending: ExitStack) -> None:
        self.folder = folder
        self.bootstrap = bootstrap
        self.partitions = partitions
        self._ending = ending
        self.layout = topics.check(bootstrap, APP_ID)
        self._producer = producer(bootstrap)
        self._reader = ending.enter_context(consumer.reader(bootstrap))

    def worker(self, name: str = "processor-0", program: Sequence[str] = ("-m", "app", "processor")) -> Worker:
        """Start a processor; it is stopped with the lab."""
        return self.owns(Worker(self, name, program=program))

    def gateway(
        self, name: str = "gateway-0", program: Sequence[str] = ("-m", "app", "gateway"), **settings: str
    ) -> Gateway:
        """Start a gateway; it is stopped with the lab."""
        return self.owns(Gateway(self, name, program=program, **settings))

    def owns(self, part: P) -> P:
        """Have a process stopped with the lab."""
        self._ending.callback(part.stop)
        return part

    def forget_disk(self) -> None:
        """Remove the processors' local tables, as a machine that was lost would."""
        shutil.rmtree(self.folder / "tables", ignore_errors=True)

    def partition(self, group: str) -> int:
        """The partition of a group."""
        return partition_for(group.encode(), self.partitions)

    def write(self, records: Sequence[tuple[int, bytes]], topic: str = topics.COMMANDS) -> None:
        """Append records (partition, value) to a topic as fast as the broker takes them, and wait for it."""
        for partition, value in records:
            while True:
                try:
                    self._producer.produce(topic, value, b"bench", partition)
                    break
                except BufferError:
                    self._producer.poll(0.05)
        if self._producer.flush(_START_S):
            raise RuntimeError(f"the broker did not take {topic} within {_START_S} s")

    def written(self) -> int:
        """Records in the events topic: events and claims."""
        return sum(self._end(partition) for partition in range(self.partitions))

    def wait_written(self, count: int, within_s: float = _START_S) -> None:
        """Wait until the events topic holds so many records."""
        eventually(lambda: self.written() >= count, within_s=within_s, what=f"{count} records in the events topic")

    def _end(self, partition: int) -> int:
        _, end = self._reader.get_watermark_offsets(TopicPartition(topics.EVENTS, partition), timeout=10)
        return int(end)


@contextmanager
def lab(partitions: int = 16) -> Iterator[Lab]:
    """A broker with topics, for one benchmark."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="auerbach-bench-")))
        broker = Broker(folder / "broker")
        ending.callback(broker.stop)
        broker.start()
        topics.create(broker.bootstrap, APP_ID, partitions, replication=1)
        wait_led(broker.bootstrap, [spec.name for spec in topics.specs(APP_ID, replication=1)], partitions)
        yield Lab(folder, broker.bootstrap, partitions, ending)


def producer(bootstrap: str) -> Producer:
    """A plain idempotent producer that never waits for more."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 0,
            "log_level": 2,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 200_000,
        }
    )


def create(group: str, members: int) -> CreateGroup:
    """A group of so many members: `user-0` (its owner), `user-1`, …"""
    return CreateGroup(
        id=f"create-{group}",
        group=group,
        by=OWNER,
        name=f"The group {group}",
        members=tuple(MemberSpec(f"user-{n}") for n in range(1, members)),
    )


def post(group: str, number: int, by: str = OWNER, run: str = "command") -> Send:
    """A message of 100 bytes; `run` and `number` make its command's id."""
    return Send(id=f"{run}-{number:09}", group=group, by=by, client_msg_id=f"{number:09}", text=TEXT)


def record(commands: Sequence[Command]) -> bytes:
    """The value of one record of the commands topic."""
    encoded = [encode_command(command) for command in commands]
    return encoded[0] if len(encoded) == 1 else b"[" + b",".join(encoded) + b"]"
