"""What we change in Faust, a test a change: each fails when an upgrade moves what the change relies on."""

import asyncio
import faulthandler
import inspect
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from faust.transport.consumer import Consumer as FaustBaseConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.worker import Worker as FaustWorker

from agents import transport
from agents.transport import App, Consumer, ConsumerThread, Producer, Transport, Worker


def source(thing: Any) -> str:
    """The module in which `thing` stands, as text (`inspect.getsource` would parse it, see tests/conftest.py)."""
    return Path(inspect.getfile(thing)).read_text()


@pytest.fixture
def app() -> App:
    app = App("tamed", broker="kafka://127.0.0.1:1", store="memory://", consumer_group_instance_id="slot")
    app.finalize()
    return app


def test_what_we_reach_into_is_pinned_exactly() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert version("mode-streaming") == "0.7.1"
    assert version("aiokafka") == "0.14.0"


def test_the_app_uses_our_transport_for_both_directions(app: App) -> None:
    assert isinstance(app.transport, Transport)
    assert isinstance(app.producer_transport, Transport)
    assert isinstance(app.consumer, Consumer)
    assert isinstance(app.producer, Producer)
    assert isinstance(app.consumer._thread, ConsumerThread)


def test_the_fetch_wait_that_aiokafka_starts_with_is_ours(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stand:
        """What Faust would build."""

        _fetch_max_wait_ms = 1500

    monkeypatch.setattr(AIOKafkaConsumerThread, "_create_worker_consumer", lambda self, transport: Stand())
    built = app.consumer._thread._create_worker_consumer(app.transport)
    assert built._fetch_max_wait_ms == transport.FETCH_WAIT_MS
    # aiokafka reads the attribute when it starts, not before; Faust's own value is a literal.
    assert "self._fetch_max_wait_ms" in source(aiokafka.AIOKafkaConsumer)
    assert "fetch_max_wait_ms=1500" in source(AIOKafkaConsumerThread)


async def test_a_poll_waits_a_tenth_of_a_second_whatever_faust_asks(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def base(self: Any, timeout: float) -> tuple[dict[Any, Any], set[Any]]:
        asked.append(timeout)
        return {}, set()

    monkeypatch.setattr(FaustBaseConsumer, "_wait_next_records", base)
    monkeypatch.setattr(app.consumer, "_get_active_partitions", lambda: {"tp"})
    await app.consumer._wait_next_records(1.0)
    assert asked == [transport.POLL_S]


async def test_without_partitions_the_fetcher_looks_again_soon(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(app.consumer, "_get_active_partitions", set)
    monkeypatch.setattr(app.consumer, "sleep", sleep)
    assert await app.consumer._wait_next_records(1.0) == ({}, set())
    assert slept == [transport.IDLE_S]
    # What is avoided: a whole second, in Faust's own code.
    assert "self.sleep(1)" in source(FaustBaseConsumer)


async def test_faust_commits_behind_our_barrier(app: App) -> None:
    passed = asyncio.Event()

    async def barrier() -> None:
        passed.set()

    app.barrier = barrier
    await app.producer.flush()
    assert passed.is_set()
    assert "self.app.producer.flush()" in source(FaustBaseConsumer)


def test_a_slot_that_restarts_is_recognised(app: App) -> None:
    assert "group_instance_id=conf.consumer_group_instance_id" in source(AIOKafkaConsumerThread)


def test_a_stop_has_a_bound(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[float, bool]] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda after, **how: bounds.append((after, how["exit"])))
    monkeypatch.setattr(FaustWorker, "_schedule_shutdown", lambda self, signal: None)
    Worker(app)._schedule_shutdown(signal.SIGTERM)
    assert bounds == [(transport.STOP_S, True)]
    assert "def _schedule_shutdown" in source(FaustWorker.__mro__[1])
