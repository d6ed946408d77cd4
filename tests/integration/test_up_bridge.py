"""`python -m app up` beside a real RabbitMQ, and in place of the replaced service."""

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.launch.preflight import is_free
from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit
from tests.support.stack import START_S, MakeStack, Stack
from tests.support.waiting import eventually

QUEUE = {"USER_SERVICE_EVENT_QUEUE": "queue-of-test-up"}


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def waiting_for(url: str) -> list[str]:
    """What a process that is not ready waits for; nothing where it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=60):
            return []
    except urllib.error.HTTPError as not_ready:
        return [str(what) for what in json.load(not_ready)["waiting_for"]]
    except (urllib.error.URLError, OSError):
        return []


def bridge_health(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.bridge_port}/readyz"


def line_of(stack: Stack, beginning: str) -> str:
    """The line that begins so, once `up` has printed it."""

    def look() -> str | None:
        whole, _, _ = stack.printed().rpartition("\n")  # the last line may be half written
        return next((line for line in whole.splitlines() if line.startswith(beginning)), None)

    line = eventually(look, within_s=START_S, what=f"a line that begins with {beginning!r}")
    assert line is not None
    return line


def found(rabbit: Rabbit) -> dict[str, str]:
    """The settings of one who does not say where RabbitMQ is: only this machine's port is not the usual one."""
    return {**QUEUE, "RABBITMQ_PORT": str(rabbit.port)}


@pytest.fixture(scope="module")
def service(kafka_jars: Path, rabbit: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways with the old doors, and a bridge to a RabbitMQ that was found; each test leaves it running."""
    settings = {"AUERBACH_LEGACY": "1", **found(rabbit)}
    data = tmp_path_factory.mktemp("up-bridge")
    one = Stack(data, processors=1, gateways=2, settings=settings)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def test_a_rabbitmq_that_answers_gets_a_bridge_whose_health_is_told(service: Stack, rabbit: Rabbit) -> None:
    health = bridge_health(service)

    assert line_of(service, "started ") == "started processor-0, bridge-0, gateway-0, gateway-1"
    # `up` looks at it for some seconds only: a slow machine's bridge is not ready yet by then.
    told = line_of(service, "bridge-0: ")
    assert re.match(r"bridge-0: (ready|not ready yet \(.+\)); ", told)
    assert told.endswith(f"; RabbitMQ at 127.0.0.1:{rabbit.port}, virtual host /; health {health}")
    eventually(lambda: ready(health), within_s=START_S, what="the bridge is ready")


def test_each_gateways_old_doors_are_told_and_serve(service: Stack) -> None:
    for i in range(2):
        http, grpc = service.legacy_port + i, service.grpc_port + i

        told = line_of(service, f"gateway-{i}: ")

        assert told == (
            f"gateway-{i}: old WebSocket ws://127.0.0.1:{http}/v1/messages/GROUP?user=USER, gRPC 127.0.0.1:{grpc}"
        )
        health = f"http://127.0.0.1:{http}/readyz"
        eventually(lambda health=health: ready(health), within_s=START_S, what=health)  # type: ignore[misc]
        assert not is_free("127.0.0.1", grpc)


def test_a_bridge_that_is_killed_is_back_and_nobody_else_is_touched(service: Stack) -> None:
    others = {name: service.pid(name) for name in ("processor-0", "gateway-0", "gateway-1")}

    service.wait_restarted("bridge-0", service.kill("bridge-0"))
    eventually(lambda: ready(bridge_health(service)), within_s=START_S, what="the bridge is ready again")

    assert "bridge-0 was killed by SIGKILL; starting it again" in service.printed()
    assert {name: service.pid(name) for name in others} == others


def test_the_bridge_stops_between_gateways_and_processors_and_leaves_nothing(
    make_stack: MakeStack, rabbit: Rabbit
) -> None:
    settings = {"AUERBACH_LEGACY": "1", **found(rabbit)}
    stack = make_stack(processors=1, gateways=1, settings=settings)
    eventually(lambda: ready(bridge_health(stack)), within_s=START_S, what="the bridge is ready")

    code = stack.interrupt()

    assert code == 0
    assert line_of(stack, "stopping ") == "stopping gateway-0, bridge-0, processor-0, kafka"
    assert not list((stack.data / "run").glob("*.pid"))
    for port in (stack.port, stack.legacy_port, stack.grpc_port, stack.bridge_port):
        assert is_free("127.0.0.1", port)


def test_a_rabbitmq_that_was_named_and_is_away_is_waited_for(
    make_stack: MakeStack, module_broker: str, own_rabbit: Rabbit
) -> None:
    settings = {**QUEUE, **own_rabbit.settings}
    stack = make_stack(bootstrap=module_broker, processors=1, gateways=1, settings=settings)
    health = bridge_health(stack)
    pid = stack.pid("bridge-0")
    assert line_of(stack, "bridge-0: ").startswith("bridge-0: not ready yet (")
    eventually(lambda: waiting_for(health), within_s=START_S, what="the bridge says what it waits for")

    own_rabbit.start()
    eventually(lambda: ready(health), within_s=START_S, what="the bridge has found RabbitMQ")

    assert stack.pid("bridge-0") == pid, "it is the same process that went on trying"


def test_a_bridge_is_started_alone(make_stack: MakeStack, module_broker: str, rabbit: Rabbit) -> None:
    stack = make_stack(bootstrap=module_broker, processors=1, gateways=1, restart=False, settings=found(rabbit))
    killed = stack.kill("bridge-0", signal.SIGKILL)
    eventually(lambda: "bridge-0 was killed by SIGKILL; not" in stack.printed(), within_s=START_S, what="it is let go")

    stack.start_one("bridge-0")
    eventually(lambda: ready(bridge_health(stack)), within_s=START_S, what="the bridge is ready")

    assert stack.pid("bridge-0") == stack.pid_of_command("bridge-0") != killed


def test_a_rabbitmq_that_is_only_found_does_not_stop_a_second_service_on_this_machine(
    service: Stack, make_stack: MakeStack, module_broker: str, rabbit: Rabbit
) -> None:
    settings = {**found(rabbit), "AUERBACH_BRIDGE_PORT": str(service.bridge_port)}

    second = make_stack(bootstrap=module_broker, processors=1, gateways=1, settings=settings)

    line = line_of(second, "bridge: ")
    assert line.startswith(f"bridge: off; port {service.bridge_port} is already in use")
    assert "AUERBACH_BRIDGE_PORT" in line


def test_an_old_door_that_is_occupied_is_one_line_that_names_its_setting(service: Stack, make_stack: MakeStack) -> None:
    settings = {"AUERBACH_LEGACY": "1", "HTTP_PORT": str(service.legacy_port), "GRPC_PORT": str(free_ports(1))}
    stack = make_stack(started=False, processors=1, gateways=1, settings=settings)

    with pytest.raises(AssertionError, match=rf"port {service.legacy_port} is already in use .* set HTTP_PORT \(now"):
        stack.start()
