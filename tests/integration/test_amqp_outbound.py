"""AMQP out on a real Kafka and a real RabbitMQ: what is published, and from where (protocol §8, issue 7)."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from app.kafka import topics
from bridges.outbound.positions import Place
from tests.support.amqp_out import (
    SEEN_S,
    Message,
    OutBridge,
    bound_queue,
    collect,
    commit,
    committed,
    depth,
    without_repeats,
)
from tests.support.log_writer import LogWriter
from tests.support.rabbit import Rabbit
from tests.support.waiting import eventually

PARTITIONS = 2

MakeBridge = Callable[..., OutBridge]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def kafka(module_broker: str) -> str:
    topics.create(module_broker, "auerbach", PARTITIONS, replication=1)
    return module_broker


@pytest.fixture
def app_id(kafka: str) -> str:
    """An app of its own on the shared log: its bridges have positions of their own."""
    name = f"app-{next(_numbers)}"
    topics.create(kafka, name, PARTITIONS, replication=1)
    return name


@pytest.fixture
def exchange() -> str:
    return f"events-{next(_numbers)}"


@pytest.fixture
def make_bridge(kafka: str, rabbit: Rabbit, app_id: str, exchange: str, tmp_path: Path) -> Iterator[MakeBridge]:
    made: list[OutBridge] = []

    def make(at: Rabbit = rabbit, **more: str) -> OutBridge:
        number = len(made)
        more = {"AUERBACH_APP_ID": app_id, **more}
        made.append(OutBridge(kafka, at, tmp_path / f"{number}", exchange, name=f"bridge-{number}", **more))
        return made[-1]

    with ExitStack() as stopping:
        yield make
        for each in made:
            stopping.callback(each.stop)


def writer(kafka: str, partition: int = 0) -> LogWriter:
    log = LogWriter(kafka, partition)
    log.claim()
    return log


def firsts(messages: list[Message]) -> list[bytes]:
    """The bodies, each where it came first: what was not confirmed in time comes again."""
    return list(dict.fromkeys(message.body for message in messages))


def count(number: int) -> Callable[[list], bool]:
    return lambda messages: len(messages) >= number


def test_an_event_is_published_as_the_bytes_of_the_log_with_its_place_in_the_headers(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka)
    group = f"plain-{exchange}"
    queue = bound_queue(rabbit, exchange, "#")
    make_bridge().start_ready()

    value = log.post(group, 'zwei: é 🎉 \t\n"\\')
    log.flush()

    (message,) = collect(rabbit, queue, count(1))
    assert message.body == value
    assert message.routing_key == f"group.{group}.message.posted"
    assert message.message_id == f"commands.0.{group}.1.{log.epoch}"
    assert (message.content_type, message.type, message.delivery_mode) == ("application/json", "message.posted", 2)
    assert message.timestamp is not None
    assert message.timestamp.isoformat() == "2026-11-25T01:20:00+00:00"
    assert {k: v for k, v in message.headers.items() if k != "offset"} == {
        "seq": 1,
        "epoch": log.epoch,
        "kind": "message.posted",
        "group": group,
        "partition": 0,
    }
    assert message.headers["offset"] == log.epoch + 1


@pytest.mark.parametrize(
    ("group", "binding"),
    [
        ("a.b", "group.a.b.#"),
        ("Grüße 🎉", "group.Grüße 🎉.message.posted"),
        ("x" * 128, f"group.{'x' * 128}.#"),
        ("#", "group.#.message.posted"),
    ],
    ids=["dots", "unicode", "the longest", "a wildcard's sign"],
)
def test_a_group_is_named_in_the_routing_key_as_it_is(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge, group: str, binding: str
) -> None:
    log = writer(kafka)
    queue = bound_queue(rabbit, exchange, binding)
    make_bridge().start_ready()

    value = log.post(group)
    log.flush()

    messages = collect(rabbit, queue, count(1))
    assert [(m.routing_key, m.body) for m in messages] == [(f"group.{group}.message.posted", value)]


def test_a_kind_of_a_later_version_is_published_like_any_other(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka)
    queue = bound_queue(rabbit, exchange, f"group.later-{exchange}.message.pinned")
    make_bridge().start_ready()

    value = log.post(f"later-{exchange}", kind="message.pinned")
    log.flush()

    assert [m.body for m in collect(rabbit, queue, count(1))] == [value]


def test_what_a_replaced_owner_writes_is_never_published_also_after_a_restart_behind_the_claim(
    kafka: str, rabbit: Rabbit, exchange: str, app_id: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka)
    old, group = log.epoch, f"void-{exchange}"
    queue = bound_queue(rabbit, exchange, f"group.{group}.#")
    bridge = make_bridge()
    bridge.start_ready()
    log.post(group, "counts")
    log.claim()
    place = (log.epoch + 1, f"{log.epoch} {log.log_id}")
    eventually(lambda: committed(kafka, app_id, 0) == place, within_s=SEEN_S, what="the place behind the claim")
    assert bridge.stop() == 0

    log.void(group, old)
    log.post(group, "counts, too")
    log.void(group, old)
    log.post(group, "the last")
    log.flush()
    bridge.start()

    messages = collect(rabbit, queue, lambda seen: any(m.body == log.values[group][-1] for m in seen))
    assert firsts(messages) == log.values[group]


def test_a_bridge_begins_at_the_end_as_it_was_when_it_started_with_the_epoch_in_force_there(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka)
    old, group = log.epoch, f"latest-{exchange}"
    log.post(group, "before")
    log.claim()
    queue = bound_queue(rabbit, exchange, f"group.{group}.#")

    bridge = make_bridge()
    bridge.start_ready()
    log.void(group, old)
    log.post(group, "after")
    log.void(group, old)
    last = log.post(group, "the last")
    log.flush()

    messages = collect(rabbit, queue, lambda seen: any(m.body == last for m in seen))
    assert firsts(messages) == log.values[group][1:]
    eventually(lambda: bridge.metric("auerbach_bridge_out_lag_records") == 0, within_s=SEEN_S, what="no lag")


def test_a_bridge_that_was_killed_before_its_first_event_does_not_begin_at_a_later_end(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka)
    group = f"killed-{exchange}"
    queue = bound_queue(rabbit, exchange, f"group.{group}.#")
    bridge = make_bridge()
    bridge.start_ready()
    bridge.kill()

    log.post(group, "while it was away")
    log.flush()
    bridge.start()

    assert [m.body for m in collect(rabbit, queue, count(1))] == log.values[group]


def test_from_earliest_everything_that_is_kept_is_published_first(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    logs = [writer(kafka, partition) for partition in range(PARTITIONS)]
    groups = [f"early-{exchange}-{n}" for n in range(PARTITIONS)]
    queue = bound_queue(rabbit, exchange, "#")
    for log, group in zip(logs, groups, strict=True):
        for number in range(50):
            log.post(group, f"{number}")
        log.flush()

    make_bridge(AUERBACH_AMQP_EVENTS_FROM="earliest").start()

    due = {group: log.values[group] for log, group in zip(logs, groups, strict=True)}
    messages = collect(rabbit, queue, lambda seen: sum(m.headers["group"] in due for m in seen) >= 50 * PARTITIONS)
    assert without_repeats(m for m in messages if m.headers["group"] in due) == due


def test_nothing_is_published_unless_an_exchange_is_named(
    kafka: str, rabbit: Rabbit, app_id: str, tmp_path: Path
) -> None:
    bridge = OutBridge(kafka, rabbit, tmp_path, "", AUERBACH_APP_ID=app_id)
    bridge.start()

    try:
        eventually(lambda: bridge.waits_for() is not None, within_s=SEEN_S, what="its health")
    finally:
        code = bridge.stop()
    assert code == 0
    assert '"out"' not in bridge.printed()


@pytest.mark.parametrize(
    ("place", "metadata", "said"),
    [
        (Place(10**9, 0), None, "the log ends at"),
        (Place(1, 0), "0 another-log", "stands in log another-log"),
        (Place(1, 0), "", "without an epoch"),
    ],
    ids=["beyond the end", "another log's", "without an epoch"],
)
def test_a_position_that_is_none_of_this_log_is_told_and_never_gone_on_from(
    kafka: str,
    rabbit: Rabbit,
    exchange: str,
    app_id: str,
    make_bridge: MakeBridge,
    place: Place,
    metadata: str | None,
    said: str,
) -> None:
    log = writer(kafka)
    group = f"wrong-{exchange}"
    queue = bound_queue(rabbit, exchange, "#")
    commit(kafka, app_id, 0, place, metadata, log.log_id)
    bridge = make_bridge()
    bridge.start()

    bridge.wait_for(said)

    log.post(group)
    log.flush()
    told = '"event": "the log cannot be read"'
    eventually(lambda: told in bridge.printed(), within_s=SEEN_S, what=told)
    assert depth(rabbit, queue) == 0
    assert committed(kafka, app_id, 0)[0] == place.offset


def test_what_retention_took_before_it_was_published_is_counted_and_the_rest_is_published(
    kafka: str, rabbit: Rabbit, exchange: str, app_id: str, make_bridge: MakeBridge
) -> None:
    log = writer(kafka, partition=1)
    group = f"retained-{exchange}"
    queue = bound_queue(rabbit, exchange, f"group.{group}.#")
    bridge = make_bridge()
    bridge.start_ready()
    at = (log.epoch + 1, f"{log.epoch} {log.log_id}")
    eventually(lambda: committed(kafka, app_id, 1) == at, within_s=SEEN_S, what="the place behind the claim")
    assert bridge.stop() == 0
    for number in range(10):
        log.post(group, f"{number}")
    log.flush()
    place = TopicPartition(topics.EVENTS, 1, log.epoch + 5)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_records([place])[place].result(SEEN_S)

    bridge.start()

    messages = collect(rabbit, queue, lambda seen: any(m.body == log.values[group][-1] for m in seen))
    assert firsts(messages) == log.values[group][4:]
    assert '"records": 4' in bridge.printed()


def test_an_exchange_of_another_type_is_told_and_waited_for(
    kafka: str, rabbit: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    bound_queue(rabbit, exchange, "#", kind="fanout")
    bridge = make_bridge()

    bridge.start()

    bridge.wait_for(f"inequivalent arg 'type' for exchange '{exchange}'")
