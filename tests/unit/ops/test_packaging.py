"""What is shipped says what the code says: the locks, the image, the compose file."""

import re
import tomllib
from pathlib import Path

import pytest

from app.config import Settings

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def services() -> dict[str, str]:
    """The text of each service of the compose file."""
    body = COMPOSE.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0]
    parts = re.split(r"^  ([a-z0-9-]+):\n", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9._-]+(?:\[[^]]*\])?==\S+)", (ROOT / lock).read_text(), flags=re.MULTILINE))


def test_compose_runs_two_of_each_beside_kafka_and_makes_the_topics_first() -> None:
    named = {"kafka", "topics", "processor-0", "processor-1", "gateway-0", "gateway-1", "rabbitmq", "bridge-0"}
    assert set(services()) == named
    # The processors' and the gateways' anchor, and the bridge.
    assert COMPOSE.count("condition: service_completed_successfully") == 3
    assert "condition: service_healthy" in services()["topics"]


def test_every_setting_in_compose_exists() -> None:
    ours = r"AUERBACH_[A-Z_]+|KAFKA_BOOTSTRAP|RABBITMQ_(?!DEFAULT_)[A-Z_]+|USER_SERVICE_[A-Z_]+"
    named = set(re.findall(rf"^\s+({ours}):", COMPOSE, flags=re.MULTILINE))

    assert named
    assert named <= {str(field.alias) for field in Settings.model_fields.values()}


@pytest.mark.parametrize("name", ["processor-0", "processor-1"])
def test_a_processor_in_compose_has_its_own_slot_address_and_folder(name: str) -> None:
    service = services()[name]

    assert f"AUERBACH_WORKER: {name}\n" in service
    assert f"AUERBACH_VIEWS_HOST: {name}\n" in service
    assert f"- {name}:/data\n" in service


@pytest.mark.parametrize("name", ["gateway-0", "gateway-1"])
def test_a_gateway_in_compose_has_its_own_slot(name: str) -> None:
    assert f"AUERBACH_GATEWAY: {name}\n" in services()[name]


def test_the_bridge_in_compose_logs_in_as_rabbitmq_lets_it() -> None:
    rabbit, bridge = services()["rabbitmq"], services()["bridge-0"]

    for ours, theirs in (("USERNAME", "USER"), ("PASSWORD", "PASS"), ("VIRTUAL_HOST", "VHOST")):
        (value,) = re.findall(rf"^      RABBITMQ_{ours}: (\S+)$", bridge, flags=re.MULTILINE)
        assert f"      RABBITMQ_DEFAULT_{theirs}: {value}\n" in rabbit
    assert "RABBITMQ_HOST: rabbitmq\n" in bridge
    assert "AUERBACH_BRIDGE: bridge-0\n" in bridge


def test_defaults_in_compose_are_those_of_the_settings() -> None:
    defaults = {str(field.alias): field.default for field in Settings.model_fields.values()}
    said = dict(re.findall(r"\$\{(RABBITMQ_[A-Z_]+|USER_SERVICE_[A-Z_]+):-([^}]*)\}", COMPOSE))

    assert said
    assert said == {name: str(defaults[name]).lower() for name in said}


@pytest.mark.parametrize(("name", "first"), [("gateway-0", 0), ("gateway-1", 1)])
def test_a_gateway_in_compose_has_the_replaced_services_doors(name: str, first: int) -> None:
    settings = Settings()

    assert f"- 127.0.0.1:{settings.http_port + first}:{settings.http_port}\n" in services()[name]
    assert f"- 127.0.0.1:{settings.grpc_port + first}:{settings.grpc_port}\n" in services()[name]
    assert f" {settings.http_port} {settings.grpc_port} " in DOCKERFILE


def test_the_bridges_health_in_compose_is_at_its_port() -> None:
    port = Settings().bridge_port

    assert f"http://127.0.0.1:{port}/readyz" in services()["bridge-0"]
    assert f"- 127.0.0.1:{port}:{port}\n" in services()["bridge-0"]


def test_compose_publishes_on_this_machine_only() -> None:
    published = re.findall(r"^      - (\S+:\d+)$", COMPOSE, flags=re.MULTILINE)

    assert len(published) == 9
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_runs_as_nobody_special_and_knows_its_health() -> None:
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, flags=re.MULTILINE)

    assert user == ["auerbach"]
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/readyz" in DOCKERFILE


def test_everything_the_image_copies_is_sent_to_its_build() -> None:
    copied = {
        path
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for path in line.split()
    }
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied == sent
    assert all((ROOT / path).exists() for path in copied)


def test_the_images_lock_is_a_part_of_the_whole_lock() -> None:
    runtime = pins("requirements-runtime.lock")

    assert runtime < pins("requirements.lock")
    assert any(pin.startswith("faust-streaming==") for pin in runtime)
    assert not any(pin.startswith(("pytest==", "mypy==")) for pin in runtime)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-runtime.lock"])
def test_every_pin_has_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_broker_of_the_start_command_has_a_log_binding_of_its_own_log4j() -> None:
    pom = (ROOT / "deploy" / "kafka" / "pom.xml").read_text()

    assert "<artifactId>log4j-slf4j-impl</artifactId>" in pom


def test_every_room_of_the_service_has_its_layer() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layered = {module for layer in contract["layers"] for module in layer.split(" | ")}
    rooms = {f"app.{path.stem}" for path in (ROOT / "app").iterdir() if path.stem not in ("__init__", "__pycache__")}

    assert contract["type"] == "layers"
    assert rooms <= layered
    assert {"web", "agents", "bridges", "tables"} <= layered
