"""What we change in Faust, a test a change. What Faust must be for it is held by test_relied_on.py."""

import asyncio
import faulthandler
import inspect
import signal
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from faust.app.base import App as FaustApp
from faust.transport.consumer import Consumer as FaustBaseConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import ConsumerRebalanceListener as FaustRebalanceListener
from faust.types import TP
from faust.worker import Worker as FaustWorker

from agents import membership, transport
from agents.recovery import Recovery, TableManager
from agents.transport import App, Consumer, ConsumerThread, Producer, RebalanceListener, Transport, Worker


def source(thing: Any) -> str:
    """The module in which `thing` stands, as text (`inspect.getsource` would parse it, see tests/conftest.py)."""
    return Path(inspect.getfile(thing)).read_text()


@pytest.fixture
def app() -> App:
    app = App("tamed", broker="kafka://127.0.0.1:1", store="memory://", consumer_group_instance_id="slot")
    app.finalize()
    return app


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


@pytest.mark.parametrize(("committed", "due", "read_from"), [(9, 6, 6), (6, 9, 6), (9, None, 9)])
async def test_a_seek_goes_no_further_than_the_record_that_is_due(
    app: App, monkeypatch: pytest.MonkeyPatch, committed: int, due: int | None, read_from: int
) -> None:
    tp, sought = TP("t", 0), []

    async def base(self: Any) -> None:
        self._read_offset[tp] = committed

    async def seek(self: Any, tp: TP, offset: int) -> None:
        sought.append(offset)

    monkeypatch.setattr(FaustBaseConsumer, "perform_seek", base)
    monkeypatch.setattr(type(app.consumer), "_seek", seek)
    monkeypatch.setattr(app.consumer, "assignment", lambda: {tp})
    app.due = lambda _: due
    await app.consumer.perform_seek()
    assert app.consumer._read_offset[tp] == read_from
    assert sought == ([due] if due is not None and due < committed else [])


async def test_a_record_that_is_taken_at_once_costs_one_task(app: App) -> None:
    took, suspended = [], asyncio.Event()

    async def take(record: int) -> int:
        took.append((record, len(asyncio.all_tasks())))
        return record

    before = len(asyncio.all_tasks())
    said = await app.consumer.wait_first(take(7), suspended.wait())
    assert (took, said.results, said.stopped) == ([(7, before + 1)], [7], False)


async def test_a_record_that_waits_to_be_taken_is_given_up_when_the_flow_is_suspended(app: App) -> None:
    suspended, given_up = asyncio.Event(), []

    async def take() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(True)
            raise

    waiting = asyncio.create_task(app.consumer.wait_first(take(), suspended.wait()))
    await asyncio.sleep(0)
    suspended.set()
    await waiting
    await asyncio.sleep(0)
    assert given_up == [True]


async def test_what_taking_a_record_raises_is_raised(app: App) -> None:
    async def take() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await app.consumer.wait_first(take(), asyncio.Event().wait())


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


async def test_the_app_prepares_before_anything_is_started(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def theirs(self: Any) -> None:
        order.append("folders")

    async def prepare() -> None:
        order.append("prepared")

    monkeypatch.setattr(FaustApp, "on_first_start", theirs)
    app.prepare = prepare
    await app.on_first_start()
    assert order == ["folders", "prepared"]


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


def test_a_stop_that_was_ordered_has_a_bound_and_gives_up_the_workers_place(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[tuple[float, bool]] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda after, **how: bounds.append((after, how["exit"])))
    monkeypatch.setattr(FaustWorker, "_schedule_shutdown", lambda self, signal: None)
    assert not app.gives_up_its_place  # so a crash does not
    Worker(app)._schedule_shutdown(signal.SIGTERM)
    assert bounds == [(transport.STOP_S, True)]
    assert app.gives_up_its_place


@pytest.mark.parametrize("ordered", [True, False])
async def test_the_group_is_left_on_an_ordered_stop_only_and_before_the_consumer_ends(
    app: App, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    order: list[str] = []

    async def leave(consumer: Any) -> None:
        order.append("leave")

    async def end(self: Any) -> None:
        order.append("end")

    monkeypatch.setattr(membership, "leave", leave)
    monkeypatch.setattr(AIOKafkaConsumerThread, "on_thread_stop", end)
    thread = app.consumer._thread
    thread._consumer = object()
    app.gives_up_its_place = ordered
    await thread.on_thread_stop()
    assert order == (["leave", "end"] if ordered else ["end"])


def test_a_rebalance_in_the_middle_of_a_stop_does_not_close_the_consumer_under_the_last_commit(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Consumer, "close", lambda self: closed.append("closed"))
    app._on_rebalance_when_stopped()
    assert not closed
    FaustApp._on_rebalance_when_stopped(app)
    assert closed  # what Faust does


def test_what_the_app_withholds_is_not_resumed(app: App) -> None:
    app.withholds = lambda tp: tp.partition == 1
    read, withheld = TP("commands", 0), TP("commands", 1)
    app.consumer._set_active_tps({read, withheld})
    app.consumer.pause_partitions({read, withheld})
    app.consumer.resume_partitions({read, withheld})
    assert app.consumer._get_active_partitions() == {read}


async def test_an_assignment_is_taken_in_with_a_beating_heart_and_without_fetching_changelogs(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    class Stand:
        """aiokafka's consumer and coordinator, as far as the listener knows them."""

        _coordinator: Any

        def _start_heartbeat_task(self) -> None:
            done.append("beat")

        def pause(self, *tps: TP) -> None:
            done.append(tps)

    async def taken(self: Any, assigned: Any) -> None:
        done.append("taken")

    stand = Stand()
    stand._coordinator = stand
    changelog = app.Table("t", partitions=1).changelog_topic.get_topic_name()
    monkeypatch.setattr(ConsumerThread, "_ensure_consumer", lambda self: stand)
    monkeypatch.setattr(FaustRebalanceListener, "on_partitions_assigned", taken)
    listener = app.consumer._thread._rebalance_listener
    assert isinstance(listener, RebalanceListener)
    await listener.on_partitions_assigned([TP("commands", 0), TP(changelog, 0)])
    assert done == ["beat", (TP(changelog, 0),), "taken"]


async def test_recovery_finds_nothing_to_read_and_asks_the_broker_for_nothing(app: App) -> None:
    recovery = app.tables.recovery
    assert isinstance(app.tables, TableManager)
    assert isinstance(recovery, Recovery)
    tp = TP("changelog", 0)
    recovery.active_tps.add(tp)
    recovery.active_offsets[tp] = 3
    recovery.active_highwaters[tp] = 9
    nobody: Any = None  # a consumer that would be asked
    await recovery._build_highwaters(nobody, recovery.active_tps, recovery.active_highwaters, "active")
    await recovery._build_offsets(nobody, recovery.active_tps, recovery.active_offsets, "active")
    await recovery._seek_offsets(nobody, recovery.active_tps, recovery.active_offsets, "active")
    assert not recovery.need_recovery()


async def test_tables_start_without_a_second_of_sleep(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def channels() -> None:
        done.append("channels")

    async def start() -> None:
        done.append("recovery")

    monkeypatch.setattr(app.tables, "_update_channels", channels)
    monkeypatch.setattr(app.tables.recovery, "start", start)
    monkeypatch.setattr(TableManager, "sleep", None)  # would raise
    await app.tables.on_start()
    assert done == ["channels", "recovery"]
