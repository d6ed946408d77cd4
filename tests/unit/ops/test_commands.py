"""The command line: what it lists, what it masks, and that what is wrong is a line and an exit code."""

import subprocess
import sys

import pytest

from app.cli.launch.errors import LaunchError
from app.cli.launch.parts import bridge, gateway, gateway_port, processor
from app.cli.main import NAMES
from app.cli.settings import describe
from app.config import Settings
from tests.support.stack import clean_environment


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_help_lists_every_command_with_its_meaning() -> None:
    lines = run("--help").stdout.splitlines()

    listed = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ") and len(line.split()) > 1
    }
    assert set(NAMES) <= set(listed)
    assert all(listed[name] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(name: str) -> None:
    shown = run(name, "--help")

    assert shown.returncode == 0
    assert f"Usage: python -m app {name}" in shown.stdout


def test_every_bad_setting_is_reported_at_once_without_a_traceback() -> None:
    refused = run("up", PORT="eighty", AUERBACH_PARTITIONS="0", AUERBACH_JWT_SECRET="short")

    lines = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert all(line.startswith("error: ") for line in lines)
    assert any(line.startswith("error: PORT: ") for line in lines)
    assert any(line.startswith("error: AUERBACH_PARTITIONS: ") for line in lines)


def test_a_process_of_no_such_name_is_refused() -> None:
    refused = run("up", "--only", "broker", AUERBACH_AUTH="dev")

    assert (refused.returncode, refused.stderr) == (
        2,
        "error: --only broker: must be kafka, processor-N, gateway-N or bridge-N\n",
    )


def test_settings_lists_every_setting_with_its_meaning() -> None:
    shown = run("settings").stdout

    for field in Settings.model_fields.values():
        assert f"\n{field.alias} = " in f"\n{shown}"
        assert str(field.description) in shown


def test_settings_says_where_a_value_comes_from_and_shows_no_secret() -> None:
    secret = "a secret that nobody else may see!"

    shown = run("settings", PORT="8090", AUERBACH_JWT_SECRET=secret).stdout

    assert "PORT = 8090  (environment; default 8080)" in shown
    assert "KAFKA_PORT = 9092  (default)" in shown
    assert "AUERBACH_JWT_SECRET = ********" in shown
    assert secret not in shown


def test_settings_says_what_the_address_of_rabbitmq_decides_and_shows_no_password() -> None:
    shown = run("settings", AMQP_URL="amqp://bob:sesame@rabbit", RABBITMQ_HOST="elsewhere").stdout

    assert "RABBITMQ_HOST = rabbit  (AMQP_URL; default 127.0.0.1)" in shown
    assert "RABBITMQ_PASSWORD = ********  (AMQP_URL; default ********)" in shown
    assert "RABBITMQ_VIRTUAL_HOST = /  (default)" in shown
    assert "sesame" not in shown


def test_a_bound_is_part_of_a_settings_meaning() -> None:
    lines = "\n".join(describe(Settings()))

    assert "Processors that `up` starts. From 1 to 64." in lines


def test_gateways_count_up_from_the_first_port() -> None:
    settings = Settings.model_validate({"port": 9000})

    assert [gateway_port(settings, f"gateway-{i}") for i in range(3)] == [9000, 9001, 9002]
    assert gateway_port(settings, "edge") == 9000


def test_the_ports_of_the_replaced_service_count_up_where_they_are_served() -> None:
    settings = Settings.model_validate({"legacy": True, "http_port": 9100, "grpc_port": 9200})

    env = gateway(settings, "gateway-2").env

    assert (env["HTTP_PORT"], env["GRPC_PORT"]) == ("9102", "9202")


def test_bridges_count_up_from_their_own_port() -> None:
    second = bridge(Settings.model_validate({"bridge_port": 9300, "data": "/data"}), "bridge-1")

    assert second.command[3:] == ("bridge", "--bridge", "bridge-1", "--port", "9301")
    assert second.env == {
        "DATA": "/data",
        "PYTHONUNBUFFERED": "1",
        "AUERBACH_BRIDGE": "bridge-1",
        "AUERBACH_BRIDGE_PORT": "9301",
    }


@pytest.mark.parametrize("command", ["up", "gateway"])
def test_settings_that_do_not_go_together_are_told_beside_those_that_are_bad(command: str) -> None:
    clash = {"AUERBACH_LEGACY": "1", "HTTP_PORT": "8080"}

    refused = run(command, RABBITMQ_PORT="0", **clash)

    assert refused.returncode == 2
    assert [line.removeprefix("error: ").partition(":")[0] for line in refused.stderr.splitlines()] == [
        "RABBITMQ_PORT",
        "AUERBACH_JWT_SECRET",
        "PORT, HTTP_PORT",
    ]


@pytest.mark.parametrize(
    "command", [["up"], ["up", "--only", "kafka"], ["processor"], ["gateway"], ["bridge"], ["topics", "check"]]
)
def test_a_bad_setting_of_any_part_stops_every_start(command: list[str]) -> None:
    refused = run(*command, RABBITMQ_PORT="amqp", AUERBACH_AUTH="dev")

    assert refused.returncode == 2
    assert refused.stderr.startswith("error: RABBITMQ_PORT: ")
    assert len(refused.stderr.splitlines()) == 1


def test_a_gateway_past_the_last_port_is_refused() -> None:
    with pytest.raises(LaunchError, match="gateway-7: PORT=65530 counts up to 65537"):
        gateway_port(Settings.model_validate({"port": 65_530}), "gateway-7")


def test_a_part_is_one_of_our_own_commands_with_its_name_and_folder() -> None:
    settings = Settings.model_validate({"port": 9000, "data": "/data"})

    assert processor(settings, "processor-1").command == (
        sys.executable,
        "-m",
        "app",
        "processor",
        "--worker",
        "processor-1",
    )
    second = gateway(settings, "gateway-1")
    assert second.command[3:] == ("gateway", "--gateway", "gateway-1", "--port", "9001")
    assert second.env == {"DATA": "/data", "PYTHONUNBUFFERED": "1", "AUERBACH_GATEWAY": "gateway-1", "PORT": "9001"}
