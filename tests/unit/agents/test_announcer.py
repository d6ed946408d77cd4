"""Announcements on their way to the signals topic: numbered, never fatal, and made again where they are lost."""

from typing import Any

from confluent_kafka import KafkaError

from agents.announcer import Announcer
from agents.presence import PartitionPresence
from app.kafka import topics
from app.kafka.producer import QueueFullError
from app.presence import Change, Report, decode_announcement, place_of_announcement


class Partition:
    number = 3
    epoch = 17

    def __init__(self) -> None:
        self.presence = PartitionPresence(0)


class Signals:
    """A producer and a clock; `fails` says what becomes of the next records."""

    def __init__(self) -> None:
        self.now = 0.0
        self.partition = Partition()
        self.fails: list[str] = []
        self.records: list[dict[str, Any]] = []
        self.announcer = Announcer(self, lambda: [self.partition], clock=lambda: self.now)

    def come(self, *users: str, number: int = 1) -> None:
        changes = [Change("g", user, online=True) for user in users]
        self.partition.presence.report("gw", Report(partition=3, since=number - 1, number=number, changes=changes), 0)

    def announce(self) -> None:
        self.now += 0.5
        self.announcer.announce()

    def produce(self, topic: str, partition: int, **record: Any) -> None:
        how = self.fails.pop(0) if self.fails else "taken"
        if how == "full":
            raise QueueFullError(topic)
        report = record.pop("report")
        if how == "taken":
            self.records.append({"topic": topic, "partition": partition, **record})
        report(None, KafkaError(KafkaError._MSG_TIMED_OUT) if how == "timed out" else None)

    def told(self) -> list[list[str]]:
        return [decode_announcement(record["value"]).joined for record in self.records]


def test_an_announcement_is_the_clients_signal_under_the_owners_claim_and_the_next_number() -> None:
    signals = Signals()
    signals.come("ann")
    signals.announce()
    signals.come("bob", number=2)
    signals.announce()
    first = signals.records[0]
    assert (first["topic"], first["partition"], first["key"]) == (topics.SIGNALS, 3, b"g")
    assert first["value"] == b'{"type":"signal","group":"g","kind":"presence","joined":["ann"],"left":[]}'
    assert [place_of_announcement(record["headers"]) for record in signals.records] == [(17, 1), (17, 2)]


def test_an_announcement_that_is_not_taken_is_counted_and_made_again() -> None:
    signals = Signals()
    signals.come("ann")
    signals.fails = ["full", "timed out"]
    for _ in range(3):
        signals.announce()
    assert signals.told() == [["ann"]]
    assert signals.announcer.lost == 2
