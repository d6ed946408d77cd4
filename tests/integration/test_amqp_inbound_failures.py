"""AMQP in when something fails: what is noticed, told, healed, and that nothing is lost, doubled or out of order."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
import pytest

from app.domain.events import GroupCreated, MemberJoined
from app.kafka import consumer, topics
from app.kafka.leaders import wait_led
from tests.support.bridges import Bridge, UserService, body
from tests.support.driver import Driver
from tests.support.processors import Processor, processors
from tests.support.rabbit import Rabbit, running
from tests.support.raw_amqp import RawPublisher, message_type, table
from tests.support.stack import Broker
from tests.support.waiting import eventually

PARTITIONS = 2
NOTICED_S = 10  # protocol and issue: whatever fails is noticed by then; the tests wait a little longer
MANY = 10_000


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    wait_led(module_broker, topics.create(module_broker, "auerbach", PARTITIONS, 1), PARTITIONS)
    return Driver(module_broker)


@pytest.fixture(scope="module")
def processor(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    with processors(driver, tmp_path_factory.mktemp("processor"), 1) as (only,):
        only.start_open()
        yield only


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A RabbitMQ of this module's own, which may be killed if it is started again."""
    with running(tmp_path_factory.mktemp("mortal")) as rabbit:
        yield rabbit


@pytest.fixture(scope="module")
def mortal_kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A second Kafka, with the topics, which may be killed if it is started again, or paused if it goes on."""
    kafka = Broker(tmp_path_factory.mktemp("mortal-kafka"))
    kafka.start()
    wait_led(kafka.bootstrap, topics.create(kafka.bootstrap, "auerbach", PARTITIONS, 1), PARTITIONS)
    yield kafka
    kafka.stop()


@pytest.fixture
def queue(new_group: Callable[[], str]) -> str:
    """A queue of the test's own."""
    return f"in-{new_group()}"


@pytest.fixture
def make_bridge(driver: Driver, tmp_path: Path, queue: str) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges to a RabbitMQ, not started, on the test's own queue."""
    made: list[Bridge] = []

    def make(rabbit: Rabbit, name: str = "bridge-0", kafka: str | None = None, **settings: str) -> Bridge:
        settings = {"USER_SERVICE_EVENT_QUEUE": queue, **settings}
        bridge = Bridge(tmp_path, kafka or driver.bootstrap, rabbit, name, settings)
        made.append(bridge)
        return bridge

    yield make
    for bridge in made:
        bridge.stop()


def errors(bridge: Bridge, containing: str) -> int:
    """How many lines of its log tell that it cannot serve, with this in the cause."""
    return sum(containing in line["cause"] for line in bridge.logged("bridge cannot serve"))


def added(driver: Driver, group: str) -> list[str]:
    """The users whose addition to the group was commanded, in the order of the commands."""
    records = [msgspec.json.decode(message.value()) for message in driver.read(topics.COMMANDS)]
    commands = [command for record in records for command in (record if isinstance(record, list) else [record])]
    return [c["user"] for c in commands if c["type"] == "add_member" and c["group"] == group]


def written(driver: Driver) -> int:
    """How many records the log has, without reading them."""
    with consumer.reader(driver.bootstrap) as reader:
        return sum(consumer.offsets(reader, topics.EVENTS, partition)[1] for partition in range(PARTITIONS))


def test_with_rabbitmq_away_the_bridge_runs_and_serves_once_it_is_there(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(mortal)

    mortal.kill()
    bridge.start()
    bridge.wait_red("cannot be reached", within_s=NOTICED_S + 5)
    mortal.start()
    bridge.wait_ready()
    UserService(mortal).added(group, "ada")

    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")
    assert errors(bridge, "RABBITMQ_HOST, RABBITMQ_PORT") == 1


def test_a_restart_of_rabbitmq_is_noticed_and_healed_and_persistent_messages_arrive(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(mortal)
    bridge.start_ready()
    UserService(mortal).added(group, "ada", persistent=True)
    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the first command")

    mortal.kill()
    bridge.wait_red("RabbitMQ at 127.0.0.1", within_s=NOTICED_S + 5)
    mortal.start()
    bridge.wait_ready()
    UserService(mortal).added(group, "bob", persistent=True)

    eventually(lambda: added(driver, group)[-1:] == ["bob"], within_s=20, what="the second command")


def test_a_rabbitmq_that_hangs_is_noticed(mortal: Rabbit, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(mortal)
    bridge.start_ready()

    mortal.kill(signal.SIGSTOP)
    bridge.wait_red("does not answer", within_s=NOTICED_S + 5)
    mortal.kill(signal.SIGCONT)

    bridge.wait_ready()


def test_a_deleted_queue_is_noticed_and_declared_anew(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    driver: Driver,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    bridge = make_bridge(rabbit)
    bridge.start_ready()

    rabbit.ctl("delete_queue", queue)
    eventually(lambda: errors(bridge, f"the queue {queue} was deleted"), within_s=NOTICED_S + 5, what="the error")
    bridge.wait_ready()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")
    assert errors(bridge, queue) == 1


def test_an_existing_queue_with_other_arguments_is_used_and_told_once(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    driver: Driver,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    first = make_bridge(rabbit, USER_SERVICE_EVENT_QUEUE_DURABLE="false")
    first.start_ready()
    first.stop()
    second = make_bridge(rabbit, "bridge-1")

    second.start_ready()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")
    (warning,) = second.logged("used as it is")
    assert "inequivalent arg 'durable'" in warning["rabbitmq"]
    assert queue in warning["rabbitmq"]


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

    eventually(lambda: added(driver, group) == ["ada"], within_s=NOTICED_S + 5, what="the command")
    assert states == ["serving", "standing by"]


def single_active_consumer(queue: str) -> dict[str, Any]:
    """A queue that takes no exclusive consumers (RabbitMQ, "Single Active Consumer")."""
    arguments = {"x-single-active-consumer": True}
    return {"name": queue, "vhost": "/", "durable": True, "auto_delete": False, "arguments": arguments}


def test_a_queue_of_any_name_is_consumed(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, queue: str, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(rabbit, USER_SERVICE_EVENT_QUEUE=f'Grüße "an" {queue}!')

    bridge.start_ready()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")


def test_refused_rights_are_told_once_and_healed_once_they_are_granted(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], queue: str
) -> None:
    definitions = {
        "vhosts": [{"name": "/"}],
        "users": [{"name": "poor", "password": "@:/%?#ü", "tags": ""}],
        "permissions": [{"user": "poor", "vhost": "/", "configure": "^$", "write": ".*", "read": ".*"}],
    }
    rabbit.import_definitions(definitions)
    bridge = make_bridge(rabbit, RABBITMQ_USERNAME="poor", RABBITMQ_PASSWORD="@:/%?#ü")

    bridge.start()
    bridge.wait_red("poor lacks a right: ACCESS_REFUSED", within_s=NOTICED_S + 5)
    rabbit.ctl("set_permissions", "-p", "/", "poor", ".*", ".*", ".*")
    bridge.wait_ready()

    assert errors(bridge, "lacks a right") == 1
    assert "%?#" not in bridge.printed()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"RABBITMQ_PASSWORD": "wr@ng"}, "RABBITMQ_USERNAME, RABBITMQ_PASSWORD"),
        ({"RABBITMQ_VIRTUAL_HOST": "no/where"}, "RABBITMQ_VIRTUAL_HOST"),
    ],
)
def test_a_refused_login_or_virtual_host_is_told_by_the_settings_name(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], settings: dict[str, str], told: str
) -> None:
    bridge = make_bridge(rabbit, **settings)

    bridge.start()

    bridge.wait_red(told, within_s=NOTICED_S + 5)
    assert "wr@ng" not in bridge.printed()


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
    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the first command")

    first.kill()
    users.added(group, "bob")

    eventually(lambda: added(driver, group)[-1:] == ["bob"], within_s=20, what="the second command")
    assert second.health()["parts"]["in"] == "serving"


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
    members = [f"user-{i}" for i in range(MANY // len(groups))]
    headers = table(message_type("MEMBER_ADDED"))
    additions = [
        (body("AddedMemberToGroupEvent", group, addedMember=member), headers) for member in members for group in groups
    ]
    RawPublisher(rabbit.port).publish_all(additions, queue=queue)
    before = written(driver)

    bridge.start()
    eventually(lambda: written(driver) > before, within_s=30, what="the first events")
    bridge.kill()
    done_before = written(driver) - before
    bridge.start_ready()

    eventually(lambda: written(driver) - before >= MANY, within_s=60, what="all events")
    assert done_before < MANY, "nothing was queued any more when the bridge was killed"
    log = driver.log()
    for group in groups:
        created, *joined = [v.event.data for v in log if v.event.group == group]
        assert isinstance(created, GroupCreated)
        assert [m.user for m in created.members] == members[:1]
        assert [d.user for d in joined if isinstance(d, MemberJoined)] == members[1:]
        assert len(joined) == len(members) - 1


def test_while_kafka_is_away_nothing_is_acknowledged_and_all_comes_in_order_afterwards(
    rabbit: Rabbit,
    make_bridge: Callable[..., Bridge],
    mortal_kafka: Broker,
    queue: str,
    new_group: Callable[[], str],
) -> None:
    group = new_group()
    own = Driver(mortal_kafka.bootstrap)
    bridge = make_bridge(rabbit, kafka=mortal_kafka.bootstrap, AUERBACH_DELIVERY_DEADLINE_S="4")
    bridge.start_ready()
    users = UserService(rabbit, queue)
    members = [f"user-{i}" for i in range(50)]

    mortal_kafka.kill()
    for member in members:
        users.added(group, member)
    bridge.wait_red("Kafka", within_s=NOTICED_S + 5)
    eventually(lambda: errors(bridge, "Kafka"), within_s=30, what="the end of the session")
    assert bridge.metric("auerbach_bridge_in_open_messages") == 0
    mortal_kafka.start()
    bridge.wait_ready(within_s=60)

    eventually(lambda: added(own, group)[-1:] == members[-1:], within_s=30, what="the last command")
    assert added(own, group)[-50:] == members
    eventually(lambda: ready(rabbit, queue) == 0, within_s=20, what="all are acknowledged")


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
    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")

    assert bridge.stop() == 0

    assert ready(rabbit, queue) == 0
    (stopped,) = bridge.logged("bridge stopped consuming")
    assert stopped["unacknowledged"] == 0


def test_sigterm_ends_it_while_rabbitmq_is_away(own_rabbit: Rabbit, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(own_rabbit)
    bridge.start()
    bridge.wait_red("cannot be reached", within_s=NOTICED_S + 5)

    assert bridge.stop() == 0


def test_sigterm_ends_it_while_kafka_is_away(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], mortal_kafka: Broker
) -> None:
    bridge = make_bridge(rabbit, kafka=mortal_kafka.bootstrap, AUERBACH_DELIVERY_DEADLINE_S="1")
    bridge.start_ready()

    mortal_kafka.kill(signal.SIGSTOP)
    try:
        UserService(rabbit).added("any", "ada")
        bridge.wait_red("Kafka", within_s=NOTICED_S + 5)

        assert bridge.stop() == 0
    finally:
        mortal_kafka.kill(signal.SIGCONT)


def test_an_existing_exchange_of_another_kind_is_used_and_told(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    asyncio.run(make_transient(mortal, "group_updates_exchange"))
    bridge = make_bridge(mortal)

    bridge.start_ready()
    UserService(mortal).added(group, "ada")

    eventually(lambda: added(driver, group) == ["ada"], within_s=20, what="the command")
    (warning,) = bridge.logged("used as it is")
    assert "group_updates_exchange" in warning["what"]


async def make_transient(rabbit: Rabbit, exchange: str) -> None:
    """Make an exchange anew that does not outlive RabbitMQ."""
    async with await aio_pika.connect(rabbit.url) as connection, connection.channel() as channel:
        await channel.exchange_delete(exchange)
        await channel.declare_exchange(exchange, "headers", durable=False)
