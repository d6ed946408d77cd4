"""Commands on their way to the log."""

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from app.domain.commands import Join, Send, decode_command, split_array
from app.domain.outcomes import Rejection, Unchanged
from app.kafka.partition import partition_for
from app.kafka.producer import QueueFullError
from app.reads import Outcome
from tests.support.until import until
from web import commander as under_test
from web.commander import PENDING, RECORD_BYTES, TIMEOUT, UNAVAILABLE, UNDER_WAY, Accepted, Commander, Result


class FakeProducer:
    def __init__(self) -> None:
        self.records: list[tuple[int, bytes, bytes, Any]] = []
        self.refuses: Exception | None = None

    def produce(self, topic: str, partition: int, *, key: bytes, value: bytes, report: Any) -> None:
        assert topic == "chat.group.commands.v1"
        if self.refuses is not None:
            raise self.refuses
        self.records.append((partition, key, value, report))

    def report(self, at: int, error: KafkaError | None) -> None:
        """The delivery report of the record `at`."""
        self.records[at][3](None if error else at, error)

    async def wait(self, count: int) -> None:
        await until(lambda: len(self.records) >= count)


class Rig:
    def __init__(self) -> None:
        self.producer = FakeProducer()
        self.began = asyncio.get_running_loop().time()
        self.fatal: list[Exception] = []
        self.results: dict[str, Result] = {}
        self.commander = Commander(self.producer, origin="gw", partitions=4, on_fatal=self.fatal.append)

    def submit(self, group: str = "g", text: str | None = None) -> str:
        command_id = self.commander.next_id()
        about: dict[str, Any] = {"id": command_id, "group": group, "by": "alice", "origin": "gw"}
        command = Join(**about) if text is None else Send(**about, text=text, client_msg_id="c")
        self.commander.submit(
            command, deadline=self.began + 10, on_result=lambda result: self._settle(command_id, result)
        )
        return command_id

    def overdue(self, after_s: float) -> None:
        """It is `after_s` after the beginning, when all commands were submitted."""
        self.commander.sweep(self.began + after_s)

    def _settle(self, command_id: str, result: Result) -> None:
        assert command_id not in self.results
        self.results[command_id] = result


async def test_a_lone_command_is_a_plain_object() -> None:
    rig = Rig()
    number = rig.submit()
    await rig.producer.wait(1)
    partition, key, value, _ = rig.producer.records[0]
    assert (partition, key) == (partition_for(b"g", 4), b"g")
    assert value[:1] == b"{"
    assert decode_command(value).id == number


async def test_commands_of_a_partition_that_arrive_together_leave_as_one_array_keyed_by_the_first() -> None:
    rig = Rig()
    groups = [f"g{i}" for i in range(40)]
    together = [g for g in groups if partition_for(g.encode(), 4) == 1]
    numbers = {group: rig.submit(group) for group in groups}
    await rig.producer.wait(4)
    [(_, key, value, _)] = [record for record in rig.producer.records if record[0] == 1]
    assert key == together[0].encode()
    assert [decode_command(raw).id for raw in split_array(value)] == [numbers[group] for group in together]


async def test_a_record_stays_under_its_bound() -> None:
    rig = Rig()
    numbers = [rig.submit(text="x" * 16_000) for _ in range(40)]
    await rig.producer.wait(3)
    assert all(len(value) <= RECORD_BYTES for _, _, value, _ in rig.producer.records)
    sent = [decode_command(raw).id for _, _, value, _ in rig.producer.records for raw in split_array(value)]
    assert sent == numbers


async def test_each_outcome_is_told_once() -> None:
    rig = Rig()
    event, refused, duplicate, unchanged = (rig.submit() for _ in range(4))
    refusal = Rejection("forbidden", "no")
    for _ in range(2):
        rig.commander.on_event(event, 5, "at")
        rig.commander.on_outcome(Outcome(command=refused, refusal=refusal))
        rig.commander.on_outcome(Outcome(command=duplicate, duplicate=True, seq=3, at="then"))
        rig.commander.on_outcome(Outcome(command=unchanged, unchanged=True))
    assert rig.results == {
        event: Accepted(5, "at"),
        refused: refusal,
        duplicate: Accepted(3, "then", duplicate=True),
        unchanged: Unchanged(),
    }
    assert len(rig.commander) == 0
    assert not rig.commander.awaits_group(b"g")


async def test_a_delivery_report_acknowledges_nothing_and_a_failed_one_is_a_timeout() -> None:
    rig = Rig()
    number = rig.submit()
    await rig.producer.wait(1)
    report = rig.producer.records[0][3]
    report(17, None)
    assert rig.results == {}
    report(None, KafkaError(KafkaError._PURGE_INFLIGHT))
    assert rig.results[number].code == "timeout"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "why", [QueueFullError("full"), KafkaException(KafkaError(KafkaError._FATAL, "gone", fatal=True))]
)
async def test_what_was_certainly_not_queued_is_unavailable(why: Exception) -> None:
    rig = Rig()
    rig.producer.refuses = why
    number = rig.submit()
    await until(lambda: rig.results)
    assert rig.results[number] == Rejection(
        "unavailable", "the command could not be handed to the broker", temporary=True
    )
    assert rig.fatal == ([why] if isinstance(why, KafkaException) else [])


async def test_what_is_overdue_times_out_and_what_is_not_stays() -> None:
    rig = Rig()
    number = rig.submit()
    await rig.producer.wait(1)
    rig.overdue(9)
    assert rig.results == {}
    rig.overdue(11)
    assert rig.results == {number: TIMEOUT}
    assert len(rig.commander) == 0


async def test_an_outcome_that_comes_after_the_timeout_is_dropped() -> None:
    rig = Rig()
    number = rig.submit()
    await rig.producer.wait(1)
    rig.overdue(11)
    rig.commander.on_event(number, 5, "at")
    rig.commander.on_outcome(Outcome(command=number, duplicate=True, seq=5, at="then"))
    rig.producer.report(0, KafkaError(KafkaError._MSG_TIMED_OUT))
    assert rig.results == {number: TIMEOUT}


async def test_of_what_a_broker_does_not_take_only_a_few_records_are_handed_over_and_the_rest_is_unavailable() -> None:
    rig = Rig()
    sent = []
    for count in range(1, UNDER_WAY + 1):
        sent.append(rig.submit())
        await rig.producer.wait(count)
    kept = [rig.submit() for _ in range(3)]
    elsewhere = rig.submit("a group of another partition")
    await rig.producer.wait(UNDER_WAY + 1)
    rig.overdue(11)
    assert rig.results == dict.fromkeys([*sent, elsewhere], TIMEOUT) | dict.fromkeys(kept, UNAVAILABLE)
    for at in range(len(rig.producer.records)):
        rig.producer.report(at, None)
    late = rig.submit()
    await rig.producer.wait(UNDER_WAY + 2)
    assert [decode_command(rig.producer.records[-1][2]).id] == [late]  # what was taken back is never sent


async def test_what_waited_behind_records_under_way_leaves_together_when_one_has_arrived() -> None:
    rig = Rig()
    for count in range(1, UNDER_WAY + 1):
        rig.submit()
        await rig.producer.wait(count)
    kept = [rig.submit(), rig.submit()]
    rig.submit("a group of another partition")
    await rig.producer.wait(UNDER_WAY + 1)  # so the time of the two is over, too
    assert {partition for partition, *_ in rig.producer.records[:-1]} == {partition_for(b"g", 4)}
    rig.producer.report(0, None)
    assert [decode_command(raw).id for raw in split_array(rig.producer.records[-1][2])] == kept
    rig.overdue(11)
    assert {rig.results[number] for number in kept} == {TIMEOUT}


async def test_a_broker_that_took_nothing_gets_one_record_at_a_time_until_it_has_taken_one() -> None:
    rig = Rig()
    for count in (1, 2):
        rig.submit()
        await rig.producer.wait(count)
    for at in (0, 1):
        rig.producer.report(at, KafkaError(KafkaError._MSG_TIMED_OUT))
    probe = rig.submit()
    await rig.producer.wait(3)
    kept = rig.submit()
    elsewhere = rig.submit("a group of another partition")
    await rig.producer.wait(4)
    rig.overdue(11)
    assert [rig.results[number] for number in (probe, kept, elsewhere)] == [TIMEOUT, UNAVAILABLE, TIMEOUT]
    rig.producer.report(2, None)
    for count in (5, 6):
        rig.submit()
        await rig.producer.wait(count)


async def test_a_producer_that_is_at_its_end_is_told_of() -> None:
    rig = Rig()
    number = rig.submit()
    await rig.producer.wait(1)
    rig.producer.report(0, KafkaError(KafkaError._FATAL, "out of order"))
    assert rig.results == {number: TIMEOUT}
    assert len(rig.fatal) == 1


async def test_the_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "WAITING_BYTES", 1_000)
    rig = Rig()
    taken, refused = rig.submit(text="x" * 1_000), rig.submit(text="x")
    assert rig.results == {refused: UNAVAILABLE}
    await rig.producer.wait(1)
    rig.submit(text="x")
    assert taken not in rig.results
    await rig.producer.wait(2)


async def test_too_many_waiting_commands_are_an_error_to_who_asks() -> None:
    rig = Rig()
    for _ in range(PENDING):
        rig.submit()
    number = rig.submit()
    assert rig.results[number].code == "unavailable"  # type: ignore[union-attr]
    assert len(rig.commander) == PENDING
