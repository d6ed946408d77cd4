"""AMQP in when RabbitMQ fails, refuses, or has things otherwise: it is noticed, told by name, and healed."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator

import aio_pika
import pytest

from bridges.connection import TELL_AGAIN_S
from tests.support.amqp_in import NOTICED_S, SEEN_S, added, causes, errors
from tests.support.bridges import Bridge, UserService
from tests.support.driver import Driver
from tests.support.rabbit import Rabbit, running
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A RabbitMQ of this module's own, which may be killed if it is started again."""
    with running(tmp_path_factory.mktemp("mortal")) as rabbit:
        yield rabbit


def test_with_rabbitmq_away_the_bridge_runs_and_serves_once_it_is_there(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(mortal)

    mortal.kill()
    began = time.monotonic()
    bridge.start()
    bridge.wait_red("cannot be reached", within_s=NOTICED_S)
    mortal.start()
    bridge.wait_ready()
    UserService(mortal).added(group, "ada")

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")
    # Not each time that it tries; again where RabbitMQ took minutes to start.
    assert 1 <= errors(bridge, "RABBITMQ_HOST, RABBITMQ_PORT") <= 1 + (time.monotonic() - began) // TELL_AGAIN_S


def test_a_restart_of_rabbitmq_is_noticed_and_healed_and_persistent_messages_arrive(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(mortal)
    bridge.start_ready()
    UserService(mortal).added(group, "ada", persistent=True)
    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the first command")

    mortal.kill()
    bridge.wait_red("RabbitMQ at 127.0.0.1", within_s=NOTICED_S)
    mortal.start()
    bridge.wait_ready()
    UserService(mortal).added(group, "bob", persistent=True)

    eventually(lambda: added(driver, group)[-1:] == ["bob"], within_s=SEEN_S, what="the second command")


def test_a_rabbitmq_that_hangs_is_noticed(mortal: Rabbit, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(mortal)
    bridge.start_ready()

    mortal.kill(signal.SIGSTOP)
    bridge.wait_red("does not answer", within_s=NOTICED_S)
    mortal.kill(signal.SIGCONT)

    bridge.wait_ready()
    # Its question was not answered: it did not wait for RabbitMQ's silence to break the connection.
    assert "does not answer" in causes(bridge)[0]


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
    eventually(lambda: errors(bridge, f"the queue {queue} was deleted"), within_s=NOTICED_S, what="the error")
    bridge.wait_ready()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")
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

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")
    (warning,) = second.logged("used as it is")
    assert "inequivalent arg 'durable'" in warning["rabbitmq"]
    assert queue in warning["rabbitmq"]


def test_an_existing_exchange_of_another_kind_is_used_and_told(
    mortal: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, new_group: Callable[[], str]
) -> None:
    group = new_group()
    asyncio.run(make_transient(mortal, "group_updates_exchange"))
    bridge = make_bridge(mortal)

    bridge.start_ready()
    UserService(mortal).added(group, "ada")

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")
    (warning,) = bridge.logged("used as it is")
    assert "group_updates_exchange" in warning["what"]


async def make_transient(rabbit: Rabbit, exchange: str) -> None:
    """Make an exchange anew that does not outlive RabbitMQ."""
    async with await aio_pika.connect(rabbit.url) as connection, connection.channel() as channel:
        await channel.exchange_delete(exchange)
        await channel.declare_exchange(exchange, "headers", durable=False)


def test_a_queue_of_any_name_is_consumed(
    rabbit: Rabbit, make_bridge: Callable[..., Bridge], driver: Driver, queue: str, new_group: Callable[[], str]
) -> None:
    group = new_group()
    bridge = make_bridge(rabbit, USER_SERVICE_EVENT_QUEUE=f'Grüße "an" {queue}!')

    bridge.start_ready()
    UserService(rabbit).added(group, "ada")

    eventually(lambda: added(driver, group)[-1:] == ["ada"], within_s=SEEN_S, what="the command")


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
    bridge.wait_red("poor lacks a right: ACCESS_REFUSED", within_s=NOTICED_S)
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

    bridge.wait_red(told, within_s=NOTICED_S)
    assert "wr@ng" not in bridge.printed()
