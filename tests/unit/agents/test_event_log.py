"""The owner's pen: what counts as delivered, and what a jump in the offsets means (rules F1 and F2)."""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError

from agents.event_log import EventLog
from app.kafka.producer import Report
from tables.write_behind import FencedError

EPOCH = 10


class HandProducer:
    """Keeps the reports, for the test to make."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def produce(self, topic: str, partition: int, *, report: Report | None, **_: object) -> None:
        if report is not None:
            self.reports.append(report)


class Rig:
    """An event log whose look at other writers' records is the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look: Callable[[int, int], bool]) -> None:
        self.producer = HandProducer()
        self.failures: list[Exception] = []
        self.delivered: list[int] = []
        self.looked: list[tuple[int, int]] = []

        def looking(_: EventLog, start: int, end: int) -> bool:
            self.looked.append((start, end))
            return look(start, end)

        monkeypatch.setattr(EventLog, "_look_for_a_claim", looking)
        self.log = EventLog(self.producer, "nowhere", 0, EPOCH, self.failures.append)  # type: ignore[arg-type]

    def append(self, count: int, at_once: int = 1) -> None:
        """Append events, with a report for each so many."""
        for n in range(self.log.appended, self.log.appended + count):
            self.log.append(b"g", b"{}", [], lambda n=n: self.delivered.append(n))  # type: ignore[misc]
            if (n + 1) % at_once == 0:
                self.log.send()

    def report(self, n: int, offset: int | None, error: KafkaError | None = None) -> None:
        self.producer.reports[n](offset, error)

    async def checked(self) -> None:
        while self.log._checking is not None:
            await asyncio.wait([self.log._checking])


async def test_reports_in_a_row_are_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: pytest.fail("nobody else wrote"))
    rig.append(2)
    after = rig.log.offset_after_all()
    rig.report(0, 11)
    assert (rig.delivered, after.done()) == ([0], False)
    rig.report(1, 12)
    assert rig.delivered == [0, 1]
    assert await after == 13


async def test_the_report_of_the_last_one_sent_speaks_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: pytest.fail("nobody else wrote"))
    rig.append(6, at_once=3)
    assert len(rig.producer.reports) == 2
    rig.report(0, 13)
    assert (rig.delivered, rig.log.next_offset) == ([0, 1, 2], 14)
    rig.report(1, 16)
    assert rig.delivered == [0, 1, 2, 3, 4, 5]


async def test_a_record_of_another_among_those_sent_at_once_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    rig.append(3, at_once=3)
    rig.report(0, 14)
    assert rig.delivered == []
    await rig.checked()
    assert rig.looked == [(11, 14)]
    assert (rig.delivered, rig.log.next_offset) == ([0, 1, 2], 15)


async def test_an_offset_that_leaves_no_room_for_all_that_was_sent_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(monkeypatch, lambda *_: pytest.fail("nothing to look at"))
    rig.append(3, at_once=3)
    rig.report(0, 12)
    assert rig.delivered == []
    assert len(rig.failures) == 1


async def test_what_is_not_sent_yet_is_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    rig.append(1, at_once=2)
    after = rig.log.offset_after_all()
    rig.log.send()
    assert not after.done()
    rig.report(0, 11)
    assert await after == 12


async def test_behind_void_records_of_others_it_goes_on_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    rig.append(3)
    first, all_of_them = rig.log.offset_after_all(), None
    rig.report(0, 11)
    rig.report(1, 14)
    all_of_them = rig.log.offset_after_all()
    rig.report(2, 15)
    assert rig.delivered == [0]
    await rig.checked()
    assert rig.looked == [(12, 14)]
    assert rig.delivered == [0, 1, 2]
    assert (await first, await all_of_them, rig.log.next_offset) == (16, 16, 16)
    assert not rig.failures


async def test_behind_a_newer_claim_nothing_of_ours_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    def claimed(start: int, end: int) -> bool:
        raise FencedError("claimed")

    rig = Rig(monkeypatch, claimed)
    rig.append(2)
    rig.report(0, 12)
    rig.report(1, 13)
    await rig.checked()
    assert rig.delivered == []
    assert [type(why) for why in rig.failures] == [FencedError]


async def test_a_jump_that_cannot_be_read_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: False)
    rig.append(1)
    rig.report(0, 12)
    await rig.checked()
    assert rig.delivered == []
    assert len(rig.failures) == 1


@pytest.mark.parametrize(("offset", "error"), [(None, None), (11, KafkaError(KafkaError._MSG_TIMED_OUT))])
async def test_a_report_without_an_offset_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, offset: int | None, error: KafkaError | None
) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    rig.append(1)
    rig.report(0, offset, error)
    assert rig.delivered == []
    assert len(rig.failures) == 1


async def test_what_waits_for_a_delivery_follows_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    said: list[str] = []
    rig.log.when_delivered(lambda: said.append("at once"))
    rig.append(1)
    rig.log.when_delivered(lambda: said.append("first"))
    rig.log.when_delivered(lambda: said.append("second"))
    assert said == ["at once"]
    rig.report(0, 11)
    assert said == ["at once", "first", "second"]


async def test_an_end_is_covered_when_what_lies_before_it_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda start, end: end <= 20)
    assert await rig.log.cover(11)
    assert rig.looked == []
    assert await rig.log.cover(20)
    assert rig.log.next_offset == 20
    assert not await rig.log.cover(21)
    assert rig.log.next_offset == 20


async def test_who_waits_for_an_offset_is_told_when_there_will_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(monkeypatch, lambda *_: True)
    rig.append(1)
    mark = rig.log.offset_after_all()
    rig.log.abandon(ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        await mark
