"""The check that the migration page gives: it passes where all is well, and says what is not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit
from tests.support.stack import Stack

CHECK = Path(__file__).parents[2] / "docs" / "migration" / "check.py"


@pytest.fixture(scope="module")
def service(kafka_jars: Path, rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways in the old one's place, and a bridge."""
    settings = {"AUERBACH_LEGACY": "1", "USER_SERVICE_EVENT_QUEUE": "queue-of-the-check", **rabbit.settings}
    one = Stack(tmp_path_factory.mktemp("migration"), processors=1, gateways=2, settings=settings)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def check(service: Stack, rabbit: Rabbit, **instead: str) -> subprocess.CompletedProcess[str]:
    # Two gateways: what one hears the other tells.
    addresses = {
        "ws": f"ws://127.0.0.1:{service.legacy_port}",
        "grpc": f"127.0.0.1:{service.grpc_port + 1}",
        "amqp": rabbit.url,
        **instead,
    }
    arguments = [word for name, address in addresses.items() for word in (f"--{name}", address)]
    command = [sys.executable, str(CHECK), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_replaced_services_neighbours_find_all_that_they_use(service: Stack, rabbit: Rabbit) -> None:
    checked = check(service, rabbit)

    assert checked.returncode == 0, checked.stderr + service.log("bridge-0")[-2000:]
    assert [line.partition(": ")[0] for line in checked.stdout.splitlines()] == ["ok"] * 7


@pytest.mark.parametrize(
    ("which", "address", "step"),
    [
        ("amqp", "amqp://guest:guest@127.0.0.1:{port}/", "RabbitMQ lets in"),
        ("ws", "ws://127.0.0.1:{port}", "its creator enters by the old WebSocket"),
        ("grpc", "127.0.0.1:{port}", "the gateway reads it by gRPC"),
    ],
)
def test_a_neighbours_address_that_is_wrong_is_told_by_its_step(
    service: Stack, rabbit: Rabbit, which: str, address: str, step: str
) -> None:
    checked = check(service, rabbit, **{which: address.format(port=free_ports(1))})

    assert checked.returncode == 1
    assert checked.stderr.startswith(f"failed: {step}: ")
    assert "Traceback" not in checked.stderr
