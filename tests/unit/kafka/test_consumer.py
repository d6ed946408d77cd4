"""Reading a partition: what ends a silence, by a consumer and a clock in the test's hand."""

from collections import deque
from typing import Any, NamedTuple

import pytest

from app.kafka import consumer

STALL_S = 5.0


class Record(NamedTuple):
    """A message as librdkafka gives it."""

    at: int

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return self.at


class HandConsumer:
    """Each poll takes the next of `polls`: how long it lasts, and the offset of the record that it brings, if any."""

    def __init__(self, polls: list[tuple[float, int | None]]) -> None:
        self.now = 0.0
        self._polls = deque(polls)
        self._position = 0

    def assign(self, _: Any) -> None:
        pass

    def poll(self, _: float) -> Record | None:
        lasts_s, offset = self._polls.popleft()
        self.now += lasts_s
        if offset is None:
            return None
        self._position = offset + 1
        return Record(offset)

    def consume(self, *_: float) -> list[Record]:
        return []

    def position(self, places: list[Any]) -> list[Any]:
        for place in places:
            place.offset = self._position
        return places


def read(monkeypatch: pytest.MonkeyPatch, polls: list[tuple[float, int | None]], end: int) -> list[int]:
    hand: Any = HandConsumer(polls)
    monkeypatch.setattr(consumer, "monotonic", lambda: hand.now)
    return [message.offset() for message in consumer.read(hand, "t", 0, 0, end, STALL_S)]


def test_a_silence_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(consumer.ReadError, match=r"nothing between 1 and 2 in 5.0 s"):
        read(monkeypatch, [(0.1, 0), *[(0.1, None)] * 60], 2)


def test_silences_between_records_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = [*[(0.1, None)] * 40, (0.1, 0), *[(0.1, None)] * 40, (0.1, 1)]

    assert read(monkeypatch, polls, 2) == [0, 1]


def test_a_reader_that_stood_still_itself_listens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, [(60.0, None), (0.1, 0)], 1) == [0]
