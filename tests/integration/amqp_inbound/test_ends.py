"""AMQP in when a bridge or Kafka ends: nothing is lost, doubled or out of order, and another bridge takes over."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.events import GroupCreated, MemberJoined
from app.kafka import consumer, topics
from tests.support.amqp_in import NOTICED_S, SEEN_S, added, errors
from tests.support.amqp_out import depth
from tests.support.bridges import Bridge, UserService, body
from tests.support.driver import Driver
from tests.support.processors import Processor, processors
from tests.support.rabbit import Rabbit
from tests.support.raw_amqp import RawPublisher, message_type, table
from tests.support.stack import Broker
from tests.support.waiting import eventually

MANY = 10_000
OPEN = "auerbach_bridge_in_open_messages"


@pytest.fixture
def processor(driver: Driver, tmp_path: Path) -> Iterator[Processor]:
    with processors(driver, tmp_path / "processor", 1) as (only,):
        only.start_open()
        yield only


def written(driver: Driver) -> int:
    """How many records the log has, without reading them."""
    with consumer.reader(driver.bootstrap) as reader:
        return sum(
            consumer.offsets(reader, topics.EVENTS, partition)[1] for partition in range(driver.layout.partitions)
        )


def test_a_second_bridge_stands_by_and_takes_over_from_one_that_is_killed(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    driver: Driver,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    first, second = make_bridge(rabbit), make_bridge(rabbit, "bridge-1")
    first.start_ready()
    second.start_ready()
    users = UserService(rabbit)
    assert (first.health()["parts"]["in"], second.health()["parts"]["in"]) == ("serving", "standing by")
    users.added(group, "ada")
    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the first command")

    first.kill()
    users.added(group, "bob")

    eventually(lambda: added(driver, group)[-1:] == ["bob"], within_s=SEEN_S, what="the second command")
    eventually(lambda: second.health()["parts"]["in"] == "serving", within_s=SEEN_S, what="the second one serves")


def test_a_queue_that_lets_one_consumer_at_a_time_read_it_by_itself_is_consumed_by_one_and_taken_over(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, queue: str, new_group: Callable[[], str]
) -> None:
    group = new_group()
    rabbit.import_definitions({"queues": [single_active_consumer(queue)]})
    first, second = make_bridge(rabbit), make_bridge(rabbit, "bridge-1")

    first.start_ready()
    second.start_ready()
    states = [bridge.health()["parts"]["in"] for bridge in (first, second)]
    first.kill()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=NOTICED_S, what="the command")
    assert states == ["serving", "standing by"]


def single_active_consumer(queue: str) -> dict[str, Any]:
    """A queue that takes no exclusive consumers (RabbitMQ, "Single Active Consumer")."""
    arguments = {"x-single-active-consumer": True}
    return {"name": queue, "vhost": "/", "durable": True, "auto_delete": False, "arguments": arguments}


def test_kill_9_with_ten_thousand_messages_queued_applies_all_once_and_in_order(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    driver: Driver,
    processor: Processor,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    groups = [new_group() for _ in range(20)]
    bridge = make_bridge(rabbit)
    bridge.start_ready()
    bridge.stop()
    publisher = RawPublisher(rabbit.port)
    before = written(driver)
    members: list[str] = []

    while depth(rabbit, queue) == 0:  # once more where we stood still until nothing was queued any more
        assert len(members) < MANY, "nothing was ever queued any more when the bridge was killed"
        more = [f"user-{len(members) + i}" for i in range(MANY // len(groups))]
        members += more
        publisher.publish_all(additions(groups, more), queue=queue)
        begun = written(driver)
        bridge.start()
        eventually(lambda begun=begun: written(driver) > begun, within_s=SEEN_S, what="the first events")  # type: ignore[misc]
        bridge.kill()
    bridge.start_ready()

    due = len(members) * len(groups)
    eventually(lambda: written(driver) - before >= due, within_s=SEEN_S, what="all events")
    log = driver.log()
    for group in groups:
        created, *joined = [v.event.data for v in log if v.event.group == group]
        assert isinstance(created, GroupCreated)
        assert [m.user for m in created.members] == members[:1]
        assert [d.user for d in joined if isinstance(d, MemberJoined)] == members[1:]
        assert len(joined) == len(members) - 1


def additions(groups: list[str], members: list[str]) -> list[tuple[bytes, bytes]]:
    """Body and headers of messages that add each member to all groups, one member after the other."""
    headers = table(message_type("MEMBER_ADDED"))
    return [
        (body("AddedMemberToGroupEvent", group, addedMember=member), headers) for member in members for group in groups
    ]


def test_while_kafka_is_away_nothing_is_acknowledged_and_all_comes_in_order_afterwards(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    kafka: Broker,
    driver: Driver,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    bridge = make_bridge(rabbit, AUERBACH_DELIVERY_DEADLINE_S="4")
    bridge.start_ready()
    users = UserService(rabbit, queue)
    members = [f"user-{i}" for i in range(50)]

    kafka.kill()
    for member in members:
        users.added(group, member)
    bridge.wait_red("Kafka", within_s=NOTICED_S)
    eventually(lambda: errors(bridge, "Kafka"), within_s=SEEN_S, what="the end of the session")
    assert bridge.metric(OPEN) == 0
    kafka.start()
    bridge.wait_ready()

    eventually(lambda: added(driver, group)[-1:] == members[-1:], within_s=SEEN_S, what="the last command")
    eventually(lambda: ready(rabbit, queue) == 0, within_s=SEEN_S, what="all are acknowledged")
    assert added(driver, group)[-50:] == members


def ready(rabbit: Rabbit, queue: str) -> int:
    """Messages in the queue, given out or not."""
    lines = rabbit.ctl("list_queues", "name", "messages", "--no-table-headers").splitlines()
    return next(int(line.split("\t")[1]) for line in lines if line.startswith(f"{queue}\t"))


def test_sigterm_ends_it_cleanly_with_all_acknowledged(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    driver: Driver,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    bridge = make_bridge(rabbit)
    bridge.start_ready()
    UserService(rabbit).added(group, "ada")
    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")
    eventually(lambda: bridge.metric(OPEN) == 0, within_s=SEEN_S, what="all are acknowledged")

    assert bridge.stop() == 0

    assert ready(rabbit, queue) == 0
    (stopped,) = bridge.logged("bridge stopped consuming")
    assert stopped["unacknowledged"] == 0


def test_sigterm_ends_it_while_rabbitmq_is_away(own_rabbit: Rabbit, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(own_rabbit)
    bridge.start()
    bridge.wait_red("cannot be reached", within_s=NOTICED_S)

    assert bridge.stop() == 0


def test_sigterm_ends_it_while_kafka_is_away(rabbit: Rabbit, make_bridge: Callable[..., Bridge], kafka: Broker) -> None:
    bridge = make_bridge(rabbit, AUERBACH_DELIVERY_DEADLINE_S="1")
    bridge.start_ready()

    kafka.kill(signal.SIGSTOP)
    try:
        UserService(rabbit).added("any", "ada")
        bridge.wait_red("Kafka", within_s=NOTICED_S)

        assert bridge.stop() == 0
    finally:
        kafka.kill(signal.SIGCONT)
