"""The processor's neighbours, by hand: commands in, and everything that comes out, straight from Kafka."""

import itertools
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from confluent_kafka import Message, Producer

from app.domain.commands import Command, encode_command
from app.domain.events import Event, decode_event
from app.kafka import consumer, topics
from app.kafka.partition import partition_for
from app.log.fence import Fence
from app.log.records import ClaimRecord, EventRecord, decode_record
from app.reads import (
    READS_PATH,
    Answer,
    AnyRead,
    Outcome,
    OwnerRecord,
    decode_answers,
    decode_outcome,
    decode_owner,
    encode_reads,
)
from tests.support.waiting import eventually

ORIGIN = "test-gateway"
WITHIN_S = 90
# What an owner says that cannot answer now: gateways ask again, and so does the driver.
_LATER = {"loading", "not_owner"}
T = TypeVar("T")


def patiently(read: Callable[[], T]) -> T:
    """What `read` gives; it is asked again while the broker, just back or standing still, cannot be read."""

    def look() -> list[T]:
        try:
            return [read()]
        except consumer.ReadError:
            return []

    (found,) = eventually(look, within_s=WITHIN_S, what="the broker can be read")
    return found


def ask(url: Callable[[], str], *reads: AnyRead) -> Sequence[Answer]:
    """An owner's answers; the owner is looked up and asked again while there is none that can answer."""
    said: list[Answer] = []

    def look() -> bool:
        try:
            said[:] = ask_once(url(), *reads)
        except OSError:  # who was the owner is gone, and the newest owner record is not there yet
            return False
        return not any(answer.missing in _LATER for answer in said)

    eventually(look, within_s=WITHIN_S, what=f"an owner that answers {reads}")
    return said


def ask_once(url: str, *reads: AnyRead) -> Sequence[Answer]:
    """What an owner says, whatever it is."""
    request = urllib.request.Request(url + READS_PATH, encode_reads(list(reads)), method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        return decode_answers(response.read())


@dataclass
class Valid:
    """A record that the fence admits, and its event."""

    record: EventRecord
    event: Event


class Driver:
    """A gateway without clients, for tests of the processor."""

    def __init__(self, bootstrap: str, app_id: str = "auerbach") -> None:
        self.bootstrap = bootstrap
        self.layout = topics.check(bootstrap, app_id)
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 2, "enable.idempotence": True}
        )
        self._ids = itertools.count()

    def next_id(self) -> str:
        """A command id."""
        return f"command-{next(self._ids)}"

    def partition(self, group: str) -> int:
        """The partition of a group."""
        return partition_for(group.encode(), self.layout.partitions)

    def send(self, *commands: Command) -> None:
        """Append the commands of one partition as one record, and wait until the broker holds it."""
        encoded = [encode_command(c) for c in commands]
        value = encoded[0] if len(encoded) == 1 else b"[" + b",".join(encoded) + b"]"
        self.send_raw(self.partition(commands[0].group), commands[0].group.encode(), value)

    def send_soon(self, *commands: Command) -> None:
        """As `send`, without waiting: `flush` waits for all."""
        encoded = [encode_command(c) for c in commands]
        group = commands[0].group
        value = encoded[0] if len(encoded) == 1 else b"[" + b",".join(encoded) + b"]"
        self._producer.produce(topics.COMMANDS, value, group.encode(), self.partition(group))
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker holds all that was sent."""
        assert self._producer.flush(WITHIN_S) == 0

    def send_raw(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append any record to the commands topic."""
        self._producer.produce(topics.COMMANDS, value, key, partition)
        self.flush()

    def read(self, topic: str) -> list[Message]:
        """All records of a topic, partition by partition."""

        def read() -> list[Message]:
            with consumer.reader(self.bootstrap) as reader:
                found = []
                for partition in range(self.layout.partitions):
                    low, high = consumer.offsets(reader, topic, partition)
                    found.extend(consumer.read(reader, topic, partition, low, high))
                return found

        return patiently(read)

    def log(self) -> list[Valid]:
        """All valid events, under the fencing rules; fails on anything that is neither event nor claim."""
        fences: dict[int, Fence] = {}
        valid = []
        for message in self.read(topics.EVENTS):
            record = decode_record(
                offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
            )
            fence = fences.setdefault(message.partition(), Fence())
            if fence.admits(record) and isinstance(record, EventRecord):
                valid.append(Valid(record, decode_event(record.value)))
        return valid

    def claims(self) -> int:
        """How many claims the log holds."""
        return sum(
            isinstance(decode_record(offset=m.offset(), key=m.key(), value=m.value(), headers=m.headers()), ClaimRecord)
            for m in self.read(topics.EVENTS)
        )

    def events(self, group: str) -> list[Event]:
        """The valid events of one group, in order."""
        return [v.event for v in self.log() if v.event.group == group]

    def wait_for_events(self, group: str, count: int, within_s: float = WITHIN_S) -> list[Event]:
        """The group's events once there are `count`."""
        return (
            eventually(
                lambda: found if len(found := self.events(group)) >= count else None,
                within_s=within_s,
                what=f"{count} events of {group}",
            )
            or []
        )

    def outcome(self, command_id: str, within_s: float = WITHIN_S) -> Outcome:
        """The reply to a command that became no event."""

        def look() -> Outcome | None:
            outcomes = [decode_outcome(m.value()) for m in self.read(topics.REPLIES) if m.key() == ORIGIN.encode()]
            return next((o for o in outcomes if o.command == command_id), None)

        found = eventually(look, within_s=within_s, what=f"a reply to {command_id}")
        assert found is not None
        return found

    def owner(self, group: str) -> OwnerRecord:
        """The owner record of a group's partition, the newest."""
        key = b"%d" % self.partition(group)
        records = [decode_owner(m.value()) for m in self.read(topics.OWNERS) if m.key() == key]
        return records[-1]

    def end(self, group: str) -> int:
        """The end offset of a group's events partition."""

        def read() -> int:
            with consumer.reader(self.bootstrap) as reader:
                return consumer.offsets(reader, topics.EVENTS, self.partition(group))[1]

        return patiently(read)

    def ask(self, *reads: AnyRead) -> Sequence[Answer]:
        """The owner's answers to reads of groups of one partition."""
        return ask(lambda: self.owner(reads[0].group).url, *reads)
