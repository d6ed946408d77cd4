"""What tests share: a real broker, a whole service, a browser. Each is started on first use."""

import asyncio
import fcntl
import itertools
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from app.cli.launch.errors import LaunchError
from app.cli.launch.java import CHECKOUT, NotHereError, find_jars
from tests.support import rabbit as rabbits
from tests.support.stack import Broker, MakeStack, Stack

# Imported before any test: its plugin would import it after the last one, and CPython 3.11 may then fail to parse it
# (gh-106905: a finalizer of Faust's that runs meanwhile upsets the parser's count).
# A deadline, and "too slow" to make, would measure the machine. Whoever suppresses other checks names this one again.
hypothesis.settings.register_profile("auerbach", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("auerbach")

# In the background of a shell Ctrl-C is ignored, and by whoever inherits that: also by what tests mean to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """Kafka's jars in the checkout's own folder, fetched once and shared by every broker of the tests."""
    data = CHECKOUT / ".local"
    data.mkdir(exist_ok=True)
    with (data / "jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of pytest-xdist come at once, and one download is enough
        return _fetched(data, tries=3)


def _fetched(data: Path, tries: int) -> Path:
    """Kafka's jars; where a download broke off it begins again."""
    try:
        return asyncio.run(find_jars(data, print))
    except NotHereError:
        raise
    except LaunchError:
        if tries == 1:
            raise
        return _fetched(data, tries - 1)


@pytest.fixture(scope="session")
def broker(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a Kafka without topics, for the tests that work on it directly."""
    kafka = Broker(tmp_path_factory.mktemp("broker"))
    try:
        kafka.start()
        yield kafka.bootstrap
    finally:
        kafka.stop()


@pytest.fixture(scope="module")
def module_broker(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a Kafka of this module's own: it may make whatever topics it likes."""
    kafka = Broker(tmp_path_factory.mktemp("module-broker"))
    try:
        kafka.start()
        yield kafka.bootstrap
    finally:
        kafka.stop()


@pytest.fixture
def make_broker(kafka_jars: Path, tmp_path: Path) -> Iterator[Callable[[], Broker]]:
    """Makes started brokers of one's own, to be killed at will."""
    numbers = itertools.count()
    with ExitStack() as made:

        def make() -> Broker:
            kafka = Broker(tmp_path / f"broker-{next(numbers)}")
            made.callback(kafka.stop)
            kafka.start()
            return kafka

        yield make


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rabbits.Rabbit]:
    """A RabbitMQ shared by this worker's tests: use queues and virtual hosts of your own, and do not stop it."""
    with rabbits.running(tmp_path_factory.mktemp("rabbit")) as shared:
        yield shared


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[rabbits.Rabbit]:
    """A RabbitMQ of one's own, not yet started, to be killed at will."""
    own = rabbits.Rabbit(tmp_path / "rabbit")
    yield own
    own.stop()


@pytest.fixture(scope="session")
def stack(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways, in the replaced service's place too, two processors and a broker in development mode, shared.

    Use group ids of your own (`new_group`), and kill nothing: that is what `make_stack` is for.
    """
    # Nothing is taken down here, so neither is there anything to give up soon on a machine that stands still.
    patient = {"AUERBACH_REQUEST_TIMEOUT_S": "30", "AUERBACH_SESSION_TIMEOUT_S": "30"}
    service = Stack(tmp_path_factory.mktemp("stack"), settings={"AUERBACH_LEGACY": "1", **patient})
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def make_stack(kafka_jars: Path, tmp_path: Path) -> Iterator[MakeStack]:
    """Makes services of one's own (the arguments are `Stack`'s), started unless `started=False`, stopped afterwards."""
    numbers = itertools.count()
    with ExitStack() as made:

        def make(*, started: bool = True, **arguments: Any) -> Stack:
            service = Stack(tmp_path / f"stack-{next(numbers)}", **arguments)
            made.callback(service.stop)
            if started:
                service.start()
            return service

        yield make


@pytest.fixture(scope="session")
def new_group() -> Callable[[], str]:
    """Makes group ids that no other test uses."""
    numbers = itertools.count(1)
    return lambda: f"g-{next(numbers)}"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program for the page's tests."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    return pytest.fail("no Chromium: as root, apt-get install chromium; the page's tests drive it")
