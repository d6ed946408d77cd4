"""What Faust and aiokafka must be for our changes to mean what they mean: fails when an upgrade moves any of it.

Where one of these fails, read the function as it is now, see whether the change in `agents` that names it still does
what its comment says, and only then write the new fingerprint down.
"""

import hashlib
import inspect
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import aiokafka
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.protocol.api import Request
from aiokafka.protocol.group import LeaveGroupRequest
from faust.app.base import App as FaustApp
from faust.stores.rocksdb import Store as FaustRocksStore
from faust.tables.base import Collection
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery
from faust.transport.consumer import Consumer as FaustBaseConsumer
from faust.transport.consumer import ThreadDelegateConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import ConsumerRebalanceListener as FaustRebalanceListener
from faust.worker import Worker as FaustWorker
from mode.services import Service
from mode.threads import ServiceThread
from mode.worker import Worker as ModeWorker

from agents import recovery, transport
from tables.faust_table import WriteBehindTable

VERSIONS = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}

# The functions whose course we rely on or replace.
COURSES: dict[str, tuple[Any, str]] = {
    # fetching: short waits, no sleeps (transport.Consumer, ConsumerThread)
    "_create_worker_consumer": (AIOKafkaConsumerThread._create_worker_consumer, "8a904f35d524"),
    "_wait_next_records": (FaustBaseConsumer._wait_next_records, "60471ba3e5b5"),
    "getmany": (FaustBaseConsumer.getmany, "f6b31e4d8a43"),
    "_drain_messages": (FaustBaseConsumer._drain_messages, "35808b82ae2f"),
    "wait_first": (Service.wait_first, "86b295bb253a"),
    "perform_seek": (FaustBaseConsumer.perform_seek, "d98522034ac0"),
    "resume_partitions": (FaustBaseConsumer.resume_partitions, "c4d54ae6f931"),
    "pause_partitions": (FaustBaseConsumer.pause_partitions, "b42a5095e9fd"),
    # what is committed, and behind which barrier
    "_commit_offsets": (FaustBaseConsumer._commit_offsets, "e2ab6185fcf7"),
    "_filter_committable_offsets": (FaustBaseConsumer._filter_committable_offsets, "bd89563ac3fa"),
    "ack": (FaustBaseConsumer.ack, "2f4c7eb08844"),
    "consumer.on_stop": (FaustBaseConsumer.on_stop, "36aff9820b56"),
    # giving partitions away and taking them, before anything is read
    "_on_partitions_revoked": (FaustApp._on_partitions_revoked, "5d6c53d1dae4"),
    "_on_partitions_assigned": (FaustApp._on_partitions_assigned, "898c6194a3a4"),
    "threadsafe_partitions_assigned": (ThreadDelegateConsumer.threadsafe_partitions_assigned, "5ad3bacb2538"),
    "listener.on_partitions_assigned": (FaustRebalanceListener.on_partitions_assigned, "53989f11c5f7"),
    # recovery without its reading (agents.recovery)
    "recovery.on_rebalance": (FaustRecovery.on_rebalance, "2fb49d869183"),
    "_restart_recovery": (FaustRecovery._restart_recovery, "ea86076f82a6"),
    "recovery.on_recovery_completed": (FaustRecovery.on_recovery_completed, "cd8604c016ec"),
    "need_recovery": (FaustRecovery.need_recovery, "379a8c2597f0"),
    "recovery": (FaustTableManager.recovery, "4b09fa26bbcb"),
    "manager.on_start": (FaustTableManager.on_start, "238ebf81e6ba"),
    "manager.on_rebalance": (FaustTableManager.on_rebalance, "824f085afa6c"),
    # what a table does with its partitions
    "table.on_rebalance": (Collection.on_rebalance, "5d23c5f553de"),
    "table.on_recovery_completed": (Collection.on_recovery_completed, "7af2dcff379b"),
    "store.on_rebalance": (FaustRocksStore.on_rebalance, "e343c461f6d0"),
    "store.assign_partitions": (FaustRocksStore.assign_partitions, "05459464a3a6"),
    "store.revoke_partitions": (FaustRocksStore.revoke_partitions, "ac1dcaaaea16"),
    "_db_for_partition": (FaustRocksStore._db_for_partition, "033204acc937"),
    # stopping in order (transport.App, Worker; agents.membership)
    "app.on_stop": (FaustApp.on_stop, "5fdd10b830f6"),
    "_stop_consumer": (FaustApp._stop_consumer, "6f583d25889f"),
    "_on_rebalance_when_stopped": (FaustApp._on_rebalance_when_stopped, "a09d493396ef"),
    "service.stop": (Service.stop, "ee31b67ebe42"),
    "_default_stop_children": (Service._default_stop_children, "57d54f52bdbb"),
    "_shutdown_thread": (ServiceThread._shutdown_thread, "a74a8968a65e"),
    "on_thread_stop": (AIOKafkaConsumerThread.on_thread_stop, "a31dc0dd0861"),
    "_schedule_shutdown": (ModeWorker._schedule_shutdown, "6164d8e34203"),
    "_sentinel_task": (ModeWorker._sentinel_task, "6230935e8c02"),
    "aiokafka.stop": (aiokafka.AIOKafkaConsumer.stop, "e08144940f20"),
    "coordinator.close": (GroupCoordinator.close, "50a2f507244f"),
    "_maybe_leave_group": (GroupCoordinator._maybe_leave_group, "87cf08bb1132"),
    "ensure_active_group": (GroupCoordinator.ensure_active_group, "8a77c31788fa"),
    "_start_heartbeat_task": (GroupCoordinator._start_heartbeat_task, "c8daffc7d0f0"),
    "_stop_heartbeat_task": (GroupCoordinator._stop_heartbeat_task, "faf3599db130"),
    "_heartbeat_routine": (GroupCoordinator._heartbeat_routine, "c1762d19a138"),
    "_coordination_routine": (GroupCoordinator._GroupCoordinator__coordination_routine, "ee86608e4a99"),  # type: ignore[attr-defined]
    "perform_group_join": (CoordinatorGroupRebalance.perform_group_join, "5de69b2c3ac6"),
    "client.send": (AIOKafkaClient.send, "079af87bb7cb"),
    "prepare": (Request.prepare, "0e99b5abb8fc"),
}

OURS = {
    transport.App: {"prepare", "barrier", "withholds", "gives_up_its_place", "due"},
    WriteBehindTable: {"store", "stand_down"},
}
CHANGED: list[tuple[type, type]] = [
    (transport.RebalanceListener, FaustRebalanceListener),
    (transport.ConsumerThread, AIOKafkaConsumerThread),
    (transport.Consumer, FaustConsumer),
    (transport.App, FaustApp),
    (transport.Worker, FaustWorker),
    (recovery.Recovery, FaustRecovery),
    (recovery.TableManager, FaustTableManager),
    (WriteBehindTable, Collection),
]


def code_of(thing: Any) -> Any:
    """The code of a function, a property, or one of mode's tasks."""
    return (getattr(thing, "fun", None) or getattr(thing, "fget", None) or thing).__code__


def last_line(code: CodeType) -> int:
    """The last line of a function that has code, those within it included."""
    inner = [last_line(each) for each in code.co_consts if isinstance(each, CodeType)]
    return max([line for _, _, line in code.co_lines() if line is not None] + inner)


def fingerprint(thing: Any) -> str:
    """A digest of a function's text (`inspect.getsource` would parse it, see tests/conftest.py)."""
    code = code_of(thing)
    lines = Path(code.co_filename).read_text().splitlines()[code.co_firstlineno - 1 : last_line(code)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def test_what_we_reach_into_is_pinned_exactly() -> None:
    assert {name: version(name) for name in VERSIONS} == VERSIONS


@pytest.mark.parametrize("name", COURSES)
def test_what_our_changes_rely_on_is_as_it_was_when_they_were_made(name: str) -> None:
    function, known = COURSES[name]
    assert fingerprint(function) == known, f"{name} has changed: read it again"


@pytest.mark.parametrize(("ours", "theirs"), CHANGED, ids=lambda c: c.__name__)
def test_what_we_override_is_there_and_takes_what_ours_takes(ours: type, theirs: type) -> None:
    for name, mine in vars(ours).items():
        if name in OURS.get(ours, ()) or name.startswith("__") or not isinstance(mine, FunctionType):
            continue
        original = getattr(theirs, name)
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(original).parameters), name
        assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(original), name


def test_aiokafka_itself_cannot_take_a_static_member_out_of_its_group() -> None:
    # When this fails, agents/membership.py has had its day.
    assert [c.API_VERSION for c in LeaveGroupRequest._CLASSES] == [0, 1]
    assert "_group_instance_id" in GroupCoordinator._maybe_leave_group.__code__.co_names
