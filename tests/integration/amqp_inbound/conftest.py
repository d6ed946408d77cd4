"""One Kafka a file, and bridges between it and a RabbitMQ."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.kafka import topics
from app.kafka.leaders import wait_led
from tests.support.bridges import Bridge
from tests.support.driver import Driver
from tests.support.rabbit import Rabbit
from tests.support.stack import Broker

PARTITIONS = 2


@pytest.fixture(scope="module")
def kafka(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of this module's own, with the topics: kill it if you start it again, pause it if you let it go on."""
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        wait_led(broker.bootstrap, topics.create(broker.bootstrap, "auerbach", PARTITIONS, 1), PARTITIONS)
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def driver(kafka: Broker) -> Driver:
    """Looks at that broker."""
    return Driver(kafka.bootstrap)


@pytest.fixture
def queue(new_group: Callable[[], str]) -> str:
    """A queue of the test's own."""
    return f"in-{new_group()}"


@pytest.fixture
def make_bridge(driver: Driver, tmp_path: Path, queue: str) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges to a RabbitMQ, not started, on the test's own queue."""
    with ExitStack() as made:

        def make(rabbit: Rabbit, name: str = "bridge-0", **settings: str) -> Bridge:
            settings = {"USER_SERVICE_EVENT_QUEUE": queue, **settings}
            bridge = Bridge(tmp_path, driver.bootstrap, rabbit, name, settings)
            made.callback(bridge.stop)
            return bridge

        yield make
