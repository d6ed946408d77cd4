"""AMQP out while what it stands on fails: nothing is lost, a group's order holds, repeats are all there is to see."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.kafka import topics
from tests.support.amqp_out import SEEN_S, OutBridge, bound_queue, collect, committed, depth, without_repeats
from tests.support.log_writer import LogWriter
from tests.support.rabbit import Rabbit, running
from tests.support.stack import Broker
from tests.support.waiting import eventually

PARTITIONS = 2
EVENTS = 3000

MakeBridge = Callable[..., OutBridge]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own, which may be killed if it is started again."""
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        topics.create(broker.bootstrap, "auerbach", PARTITIONS, replication=1)
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A RabbitMQ of this module's own, which may be killed if it is started again."""
    with running(tmp_path_factory.mktemp("mortal")) as rabbit:
        yield rabbit


@pytest.fixture
def exchange() -> str:
    return f"events-{next(_numbers)}"


@pytest.fixture
def make_bridge(kafka: Broker, mortal: Rabbit, exchange: str, tmp_path: Path) -> Iterator[MakeBridge]:
    made: list[OutBridge] = []
    topics.create(kafka.bootstrap, exchange, PARTITIONS, replication=1)

    def make(**more: str) -> OutBridge:
        number = len(made)
        more = {"AUERBACH_APP_ID": exchange, **more}  # positions of the test's own, on the shared log
        bridge = OutBridge(kafka.bootstrap, mortal, tmp_path / f"{number}", exchange, name=f"bridge-{number}", **more)
        made.append(bridge)
        return bridge

    with ExitStack() as stopping:
        yield make
        for each in made:
            stopping.callback(each.stop)


def stream(logs: list[LogWriter], exchange: str, events: int = EVENTS) -> dict[str, list[bytes]]:
    """Write events, three groups a partition, in turn; what is due by group."""
    due: dict[str, list[bytes]] = {}
    for number in range(events):
        log = logs[number % len(logs)]
        group = f"{exchange}-{log.partition}-{number % 3}"
        due.setdefault(group, []).append(log.post(group, f"{number} " + "x" * 400))
    for log in logs:
        log.flush()
    return due


def writers(kafka: Broker) -> list[LogWriter]:
    logs = [LogWriter(kafka.bootstrap, partition) for partition in range(PARTITIONS)]
    for log in logs:
        log.claim()
    return logs


def all_of(due: dict[str, list[bytes]]) -> Callable[[list], bool]:
    """Whether the last event of each group came; cheap enough to be asked after each message."""
    last = {bodies[-1] for bodies in due.values()}

    def look(messages: list) -> bool:
        if messages:
            last.discard(messages[-1].body)
        return not last

    return look


def some(rabbit: Rabbit, queue: str, least: int = 200) -> None:
    eventually(lambda: depth(rabbit, queue) >= least, within_s=SEEN_S, what=f"{least} messages in {queue}")


@dataclass
class Streaming:
    """A bridge in the middle of a stream: some of what is `due` is in the queue, and more is under way."""

    logs: list[LogWriter]
    bridge: OutBridge
    queue: str
    due: dict[str, list[bytes]]


@pytest.fixture
def streaming(kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge) -> Streaming:
    queue = bound_queue(mortal, exchange, "#")
    logs, bridge = writers(kafka), make_bridge()
    bridge.start_ready()
    due = stream(logs, exchange)
    some(mortal, queue)
    return Streaming(logs, bridge, queue, due)


def test_nothing_is_lost_when_the_bridge_is_killed_in_a_stream(mortal: Rabbit, streaming: Streaming) -> None:
    streaming.bridge.kill()
    streaming.bridge.start()

    assert without_repeats(collect(mortal, streaming.queue, all_of(streaming.due))) == streaming.due


def test_nothing_is_lost_when_rabbitmq_is_killed_in_a_stream(mortal: Rabbit, streaming: Streaming) -> None:
    mortal.kill()
    streaming.bridge.wait_for("cannot be reached")
    mortal.start()

    assert without_repeats(collect(mortal, streaming.queue, all_of(streaming.due))) == streaming.due
    streaming.bridge.wait_ready()


def test_nothing_is_lost_when_kafka_is_killed_in_a_stream(
    kafka: Broker, mortal: Rabbit, exchange: str, streaming: Streaming
) -> None:
    kafka.kill()
    kafka.start()
    log = streaming.logs[0]
    late = f"{exchange}-late"
    streaming.due[late] = [log.post(late, "when it is back")]
    log.flush()

    assert without_repeats(collect(mortal, streaming.queue, all_of(streaming.due))) == streaming.due


def test_while_kafka_is_away_the_bridge_says_so_and_still_ends_cleanly(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    bridge = make_bridge()
    bridge.start_ready()

    kafka.kill(signal.SIGSTOP)
    try:
        bridge.wait_for("Kafka at")
        assert bridge.stop(within_s=10) == 0
    finally:
        kafka.kill(signal.SIGCONT)


def test_bridges_share_the_partitions_and_one_goes_on_with_those_of_a_killed_one(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#")
    logs, bridges = writers(kafka), [make_bridge(), make_bridge()]
    for bridge in bridges:
        bridge.start_ready()
    eventually(
        lambda: all(f'"partitions": [{p}]' in bridges[0].printed() + bridges[1].printed() for p in range(PARTITIONS)),
        within_s=SEEN_S,
        what="a partition each",
    )
    due = stream(logs, exchange)
    some(mortal, queue)

    bridges[0].kill()

    assert without_repeats(collect(mortal, queue, all_of(due))) == due


def test_a_bridge_that_was_paused_while_another_went_on_breaks_no_order(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#")
    logs, paused, other = writers(kafka), make_bridge(), make_bridge()
    paused.start_ready()
    due = stream(logs, exchange)
    some(mortal, queue)

    paused.kill(signal.SIGSTOP)
    other.start()
    try:
        eventually(lambda: '"partitions": [0, 1]' in other.printed(), within_s=SEEN_S, what="the partitions")
    finally:
        paused.kill(signal.SIGCONT)
    more = stream(logs, f"{exchange}-more")

    assert without_repeats(collect(mortal, queue, all_of({**due, **more}))) == {**due, **more}


def test_at_a_clean_end_the_position_is_behind_the_last_event_and_nothing_comes_again(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#")
    logs, bridge = writers(kafka), make_bridge()
    bridge.start_ready()
    due = stream(logs, exchange, events=300)
    eventually(lambda: depth(mortal, queue) >= 300, within_s=SEEN_S, what="all of it")

    assert bridge.stop() == 0
    before = depth(mortal, queue)  # more than all only if a connection was lost meanwhile
    bridge.start_ready()
    more = stream(logs, f"{exchange}-more", events=1)

    messages = collect(mortal, queue, all_of(more))
    assert len(messages) == before + 1
    assert without_repeats(messages) == {**due, **more}


def test_a_rabbitmq_that_blocks_publishers_is_waited_for_in_bounds_and_the_rest_follows(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#")
    # A session longer than any machine stands still: what is held up must not cost the bridge its partitions.
    logs, bridge = writers(kafka), make_bridge(AUERBACH_SESSION_TIMEOUT_S="60")
    bridge.start_ready()
    mortal.ctl("set_vm_memory_high_watermark", "0")
    try:
        due = stream(logs, exchange, events=5 * EVENTS)
        bridge.wait_for("its alarm of memory or disk blocks publishers")
        eventually(lambda: bridge.metric("auerbach_bridge_out_held") >= 10_000, within_s=SEEN_S, what="it holds many")
        assert bridge.metric("auerbach_bridge_out_held") <= 12_500
        assert bridge.metric("auerbach_bridge_out_unconfirmed") <= 1_000
        assert "partitions lost" not in bridge.printed()
    finally:
        mortal.ctl("set_vm_memory_high_watermark", "0.8")

    assert without_repeats(collect(mortal, queue, all_of(due))) == due
    bridge.wait_ready()


def test_a_bridge_whose_rabbitmq_blocks_publishers_still_ends_cleanly_and_loses_nothing(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#")
    logs, bridge = writers(kafka), make_bridge()
    bridge.start_ready()
    mortal.ctl("set_vm_memory_high_watermark", "0")
    try:
        due = stream(logs, exchange)
        bridge.wait_for("blocks publishers")
        assert bridge.stop(within_s=10) == 0
    finally:
        mortal.ctl("set_vm_memory_high_watermark", "0.8")

    bridge.start()

    assert without_repeats(collect(mortal, queue, all_of(due))) == due


def test_what_a_queue_refuses_is_published_again_with_all_that_followed(
    kafka: Broker, mortal: Rabbit, exchange: str, make_bridge: MakeBridge
) -> None:
    queue = bound_queue(mortal, exchange, "#", **{"x-max-length": 50, "x-overflow": "reject-publish"})
    logs, bridge = writers(kafka), make_bridge()
    bridge.start_ready()
    due = stream(logs, exchange, events=600)
    bridge.wait_for("RabbitMQ did not take a message")

    messages = collect(mortal, queue, lambda seen: bool(seen) and without_repeats(seen) == due)

    assert without_repeats(messages) == due
    ends = [committed(kafka.bootstrap, exchange, p)[0] for p in range(PARTITIONS)]
    assert all(end >= 0 for end in ends)
