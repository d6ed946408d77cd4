"""What the reader of the log goes on after, and what it does not."""

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from app.kafka.consumer import ReadError
from app.kafka.topics import Layout
from tests.support.until import until
from tests.unit.web.world import Record
from web.log_reader import LogReader, RawRecord, Start


class Fault(Record):
    """What a consumer gives in place of a record."""

    def __init__(self, code: int, *, fatal: bool = False) -> None:
        super().__init__("chat.group.events.v1", 0, -1001, None, None)
        self._error = KafkaError(code, "said the broker", fatal=fatal)

    def error(self) -> KafkaError:
        return self._error


class Read(Record):
    def error(self) -> None:
        return None


class FakeConsumer:
    """Gives what it was made with, one at a time, and then nothing."""

    def __init__(self, given: list[Any]) -> None:
        self.given = given

    def poll(self, _timeout_s: float) -> Any:
        return self.given.pop(0) if self.given else None

    def consume(self, _count: int, _timeout_s: float) -> list[Any]:
        return []

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return places

    def get_watermark_offsets(self, _place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        return 0, 0

    def close(self) -> None:
        pass


class Receiver:
    def __init__(self, failure: Exception | None = None) -> None:
        self.taken: list[int] = []
        self.begun = False
        self._failure = failure

    def begin(self, start: Start) -> None:
        assert start == Start()
        self.begun = True

    def take(self, records: list[RawRecord]) -> None:
        if self._failure is not None:
            raise self._failure
        self.taken += [record.offset() for record in records]


def reading(monkeypatch: pytest.MonkeyPatch, given: list[Any], receiver: Receiver) -> tuple[LogReader, list[Exception]]:
    """A reader of `given`, started; and what it could not go on after."""
    consumer = FakeConsumer(given)
    failures: list[Exception] = []
    monkeypatch.setattr("web.log_reader.Consumer", lambda _settings: consumer)
    monkeypatch.setattr(LogReader, "_open_patiently", lambda _self, _consumer: Start())
    reader = LogReader("nowhere", Layout(1, "log", "commands"), receiver, failures.append)
    reader.start()
    return reader, failures


def at(offset: int) -> Read:
    return Read("chat.group.events.v1", 0, offset, b"g", b"{}")


async def test_a_broker_that_goes_away_ends_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    away = [Fault(KafkaError._TRANSPORT), Fault(KafkaError._ALL_BROKERS_DOWN), Fault(KafkaError.UNKNOWN_TOPIC_OR_PART)]
    reader, failures = reading(monkeypatch, [at(1), *away, at(2)], receiver)
    await until(lambda: receiver.taken == [1, 2])
    await reader.close()
    assert receiver.begun
    assert failures == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(KafkaError._AUTO_OFFSET_RESET),
        Fault(KafkaError.OFFSET_OUT_OF_RANGE),
        Fault(KafkaError._FATAL, fatal=True),
    ],
)
async def test_a_lost_place_ends_the_reading_and_nothing_behind_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    receiver = Receiver()
    reader, failures = reading(monkeypatch, [at(1), fault, at(2)], receiver)
    await until(lambda: failures)
    await reader.close()
    assert receiver.taken == [1]
    assert [type(failure) for failure in failures] == [ReadError]
    assert "chat.group.events.v1/0: said the broker" in str(failures[0])


async def test_records_that_cannot_be_taken_end_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = ValueError("bug")
    reader, failures = reading(monkeypatch, [at(1)], Receiver(bug))
    await until(lambda: failures)
    await reader.close()
    assert failures == [bug]


async def test_the_end_waits_a_moment_only_for_a_thread_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.log_reader.CLOSE_S", 0.01)
    reader, _ = reading(monkeypatch, [], Receiver())
    monkeypatch.setattr(reader._closing, "is_set", lambda: False)
    await asyncio.wait_for(reader.close(), 30)
    monkeypatch.undo()
    await reader.close()
