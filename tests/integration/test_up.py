"""`python -m app up` for real: on free ports, with its own data and broker."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.launch.broker import fault_of
from app.cli.launch.preflight import is_free
from tests.support.ports import free_ports
from tests.support.stack import START_S, STOP_S, Broker, Command, MakeStack, Stack
from tests.support.waiting import eventually

ALL = ["kafka", "processor-0", "gateway-0"]


@pytest.fixture(scope="module")
def service(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One of each process, in a folder whose name Java and Kafka could stumble over; each test leaves it running."""
    one = Stack(tmp_path_factory.mktemp("up") / "a folder, named à la carte", processors=1, gateways=1)
    try:
        one.start()
        yield one
    finally:
        one.stop()


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def run(env: dict[str, str], *arguments: str, within_s: float = START_S) -> subprocess.CompletedProcess[str]:
    """Run `python -m app …` to its end."""
    command = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(command, env=env, timeout=within_s, capture_output=True, text=True, check=False)


def ports_of(stack: Stack) -> list[int]:
    kafka = int(stack.bootstrap.rpartition(":")[2])
    return [stack.port + i for i in range(len(stack.gateways))] + [kafka, kafka + 1]


def test_one_command_says_what_it_took_and_where_the_page_is(service: Stack) -> None:
    lines = service.printed().splitlines()

    assert lines[0].startswith("kafka: Apache Kafka 4.4.0 on Java ")
    assert lines[1].startswith("topics: 11 made, 4 partitions each, log ")
    assert lines[2] == "started processor-0, gateway-0"
    assert lines[3].startswith("ready in ")
    assert str(service.data) in lines[3]
    assert lines[4] == f"chat page: {service.http_url()}/"
    with urllib.request.urlopen(service.http_url() + "/", timeout=60) as page:
        assert page.headers["Content-Type"].startswith("text/html")


def test_without_a_rabbitmq_everything_else_runs_and_a_line_says_how_to_have_one(service: Stack) -> None:
    eventually(lambda: "\nbridge: off; " in service.printed(), within_s=START_S, what="the bridge's line")

    line = service.printed().splitlines()[5]

    assert line.startswith("bridge: off; no RabbitMQ answers at 127.0.0.1:1, virtual host /; ")
    assert "apt-get install rabbitmq-server" in line
    assert not (service.data / "run" / "bridge-0.pid").exists()


def test_each_process_has_its_pid_and_its_log(service: Stack) -> None:
    assert all(is_alive(service.pid(name)) for name in ALL)
    said = {"kafka": "Kafka Server started", "gateway-0": "gateway serves", "processor-0": "partition open"}
    eventually(lambda: all(said[name] in service.log(name) for name in ALL), within_s=START_S, what=str(said))


def test_another_up_on_the_same_folder_is_refused_and_disturbs_nobody(service: Stack) -> None:
    pids = [service.pid(name) for name in ALL]

    second = run(service.env, "up")

    assert second.returncode == 2
    assert second.stderr.startswith("error: up is already running (pid ")
    assert [service.pid(name) for name in ALL] == pids
    assert all(is_alive(pid) for pid in pids)


@pytest.mark.parametrize("command", [["gateway"], ["up", "--only", "gateway-0"], ["up", "--only", "kafka"]])
def test_a_process_that_runs_already_is_not_started_twice(service: Stack, command: list[str]) -> None:
    second = run(service.env, *command)

    assert second.returncode == 2
    assert "is already running (pid " in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_the_port_of_another_service_is_refused_in_one_line(service: Stack, tmp_path: Path) -> None:
    second = run({**service.env, "DATA": str(tmp_path), "KAFKA_PORT": str(free_ports(2))}, "up")

    assert second.returncode == 2
    assert second.stderr == (
        f"error: port {service.port} is already in use on 127.0.0.1; stop what listens there, or set PORT (now "
        f"{service.port})\n"
    )


def test_the_brokers_port_of_another_service_is_refused_in_one_line(service: Stack, tmp_path: Path) -> None:
    second = run({**service.env, "DATA": str(tmp_path), "PORT": str(free_ports(1))}, "up")

    assert second.returncode == 2
    assert "are already in use on 127.0.0.1" in second.stderr
    assert "set KAFKA_PORT" in second.stderr
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["gateway-0", "processor-0", "kafka"])
def test_a_process_that_is_killed_is_back_and_the_service_with_it(service: Stack, name: str) -> None:
    others = {other: service.pid(other) for other in ALL if other != name}

    killed = service.kill(name)
    service.wait_restarted(name, killed)
    eventually(lambda: fault_of(service.bootstrap) is None, within_s=START_S, what="the broker serves")
    service.wait_ready()

    assert f"{name} was killed by SIGKILL; starting it again" in service.printed()
    assert name == "kafka" or {other: service.pid(other) for other in others} == others


def test_an_existing_broker_is_used_and_outlives_the_service(make_stack: MakeStack, broker: str) -> None:
    stack = make_stack(bootstrap=broker, processors=1, gateways=1)

    assert stack.printed().startswith(f"kafka: the broker of KAFKA_BOOTSTRAP at {broker}, ready in ")
    assert not (stack.data / "run" / "kafka.pid").exists()
    stack.stop()
    eventually(lambda: fault_of(broker) is None, within_s=START_S, what="the broker serves still")


def test_a_broker_that_is_away_is_one_line_that_names_the_setting(tmp_path: Path, make_stack: MakeStack) -> None:
    away = f"127.0.0.1:{free_ports(1)}"

    refused = run(make_stack(started=False, bootstrap=away).env, "up")

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: no broker answers at {away} after 10 s (")
    assert "KAFKA_BOOTSTRAP" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_ctrl_c_ends_all_of_it_in_seconds_and_the_next_start_is_quick(make_stack: MakeStack) -> None:
    stack = make_stack()
    pids = [stack.pid(name) for name in ("kafka", *stack.processors, *stack.gateways)]

    code = stack.interrupt(within_s=10)

    assert code == 0
    assert not any(is_alive(pid) for pid in pids)
    assert all(is_free("127.0.0.1", port) for port in ports_of(stack))
    assert not list((stack.data / "run").glob("*.pid"))
    # Nothing is made, fetched, or waited out again: no session of a worker that did not leave, no process that stayed.
    assert all('"left the group"' in stack.log(name) for name in stack.processors)
    stack.start()
    kafka, made, started, *_ = stack.printed().splitlines()
    assert kafka.startswith("kafka: Apache Kafka ")
    assert made.startswith("topics: 0 made, ")
    assert started.startswith("started ")


def test_an_up_that_is_killed_takes_its_processes_along_and_the_next_one_starts(make_stack: MakeStack) -> None:
    stack = make_stack(processors=1, gateways=1)
    pids = [stack.pid(name) for name in ALL]

    stack.kill("up")
    stack.start()

    assert not any(is_alive(pid) for pid in pids)
    stack.wait_ready()


def test_one_process_is_killed_and_started_alone(make_stack: MakeStack) -> None:
    stack = make_stack(processors=1, gateways=2, restart=False)
    killed = stack.kill("gateway-1")
    eventually(
        lambda: "gateway-1 was killed by SIGKILL; not started" in stack.printed(), within_s=START_S, what="it is let go"
    )
    assert is_free("127.0.0.1", stack.port + 1)

    stack.start_one("gateway-1")
    stack.wait_ready()

    alone = stack.pid("gateway-1")
    assert alone != killed
    assert alone == stack.pid_of_command("gateway-1"), "the command is the process itself"


def test_a_broker_that_was_killed_starts_again_on_its_data(kafka_jars: Path, tmp_path: Path) -> None:
    kafka = Broker(tmp_path)
    kafka.start()
    env = {**kafka.env, "AUERBACH_PARTITIONS": "2"}
    first = run(env, "topics", "create")
    kafka.kill()

    kafka.start()
    again = run(env, "topics", "check")
    kafka.stop()

    assert "made chat.group.events.v1" in first.stdout
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_the_data_keeps_its_topics_when_the_broker_moves_to_another_port(kafka_jars: Path, tmp_path: Path) -> None:
    kafka = Broker(tmp_path)
    kafka.start()
    first = run(kafka.env, "topics", "create").stdout.splitlines()[-1]
    kafka.stop()

    moved = Broker(tmp_path)
    moved.start()
    again = run(moved.env, "topics", "check")
    moved.stop()

    assert again.stdout.rstrip().rpartition(" log ")[2] == first.rpartition(" log ")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_only_make_gets_ends_the_service(
    make_stack: MakeStack, tmp_path: Path, number: signal.Signals
) -> None:
    stack = make_stack(started=False, processors=1, gateways=1)
    stack.data.mkdir()
    (stack.data / "up.out").touch()
    (tmp_path / "Makefile").write_text(f"run:\n\t@exec {sys.executable} -m app up >'{stack.data}/up.out' 2>&1\n")
    make = subprocess.Popen(["make", "-C", str(tmp_path), "run"], env=stack.env, start_new_session=True)
    eventually(lambda: "started processor-0" in stack.printed(), within_s=START_S, what="the service is up")
    pids = [stack.pid(name) for name in ALL]

    make.send_signal(number)

    assert make.wait(STOP_S) != 0
    assert not any(is_alive(pid) for pid in pids)


def test_a_gateway_that_cannot_authenticate_anybody_is_refused(make_stack: MakeStack) -> None:
    stack = make_stack(started=False, auth="jwt")

    for command in (["up"], ["gateway"]):
        refused = run(stack.env, *command)

        assert refused.returncode == 2
        assert (
            refused.stderr
            == "error: AUERBACH_JWT_SECRET: must be set (or AUERBACH_JWT_JWKS), unless AUERBACH_AUTH=dev\n"
        )


def test_stopping_in_the_middle_of_a_start_leaves_nothing(make_stack: MakeStack) -> None:
    stack = make_stack(started=False, processors=1, gateways=1)
    stack.data.mkdir()
    up = Command(stack.data / "up.out", stack.env, "up")
    eventually((stack.data / "run" / "kafka.pid").exists, within_s=START_S, what="the broker is being started")
    kafka = stack.pid("kafka")

    assert up.stop() == 0

    assert not is_alive(kafka)
