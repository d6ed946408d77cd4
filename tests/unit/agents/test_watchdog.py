"""A worker that was paused writes nothing more."""

import asyncio
from typing import Any

import pytest

from agents import watchdog as module
from agents.watchdog import PausedError, Watchdog, WatchedProducer


class Left(BaseException):
    """The process has ended: nothing after it runs."""


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def leave(why: Exception) -> None:
    assert isinstance(why, PausedError)
    raise Left(str(why))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watchdog(clock: Clock) -> Watchdog:
    return Watchdog(3.0, leave, clock)


def test_a_loop_that_beats_may_write(watchdog: Watchdog, clock: Clock) -> None:
    for _ in range(10):
        clock.now += 2.9
        watchdog.beat()
    clock.now += 3.0
    watchdog.check()


def test_a_pause_of_more_than_half_the_session_is_noticed_before_the_next_beat(
    watchdog: Watchdog, clock: Clock
) -> None:
    clock.now += 3.1
    with pytest.raises(Left, match=r"3\.1 s"):
        watchdog.check()


def test_the_beat_behind_a_pause_does_not_hide_it(watchdog: Watchdog, clock: Clock) -> None:
    clock.now += 3.1
    with pytest.raises(Left):
        watchdog.beat()


async def test_a_producer_writes_nothing_behind_a_pause(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    class Rd:
        """librdkafka's producer."""

        def __init__(self, settings: dict[str, Any]) -> None: ...

        def produce(self, topic: str, value: bytes, **_: Any) -> None:
            written.append(value)

        def produce_batch(self, topic: str, messages: list[dict[str, Any]], partition: int) -> int:
            written.extend(message["value"] for message in messages)
            return len(messages)

        def poll(self, timeout: float) -> int:
            return 0

        def flush(self, timeout: float) -> int:
            return 0

    monkeypatch.setattr("app.kafka.producer.RdProducer", Rd)
    producer = WatchedProducer("nobody:1", Watchdog(3.0, leave, clock))
    producer.produce("t", 0, key=None, value=b"before")
    clock.now += 3.1
    with pytest.raises(Left):
        producer.send("t", 0, key=None, value=b"behind")
    with pytest.raises(Left):
        producer.send_all("t", 0, [(b"k", b"behind")], [])
    assert written == [b"before"]
    await producer.close(timeout_s=1)


async def test_it_beats_by_itself(clock: Clock, watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = 0

    async def sleep(seconds: float) -> None:
        nonlocal beats
        assert seconds <= 3.0 / 2  # several within the limit
        clock.now += seconds
        beats += 1
        if beats == 100:
            raise asyncio.CancelledError

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await watchdog.run()
