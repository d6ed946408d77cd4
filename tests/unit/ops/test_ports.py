"""Ports that two processes would share are refused by both names, before anything is started."""

from collections.abc import Iterator

import pytest

from app.cli.launch.ports import bridge_port_faults, one_gateways_port_faults, port_faults
from app.config import Fault, Settings

LEGACY = {"AUERBACH_LEGACY": True}
GIVEN = {"RABBITMQ_HOST": "127.0.0.1"}


def told(faults: Iterator[Fault]) -> list[str]:
    return [fault.told.partition(": ")[0] for fault in faults]


def settings(**values: object) -> Settings:
    return Settings.model_validate(values)


CLASHES = [
    ({"PORT": 9092}, "PORT, KAFKA_PORT"),
    ({"PORT": 9093}, "PORT, KAFKA_PORT"),
    ({"PORT": 9091, "GATEWAYS": 2}, "PORT, KAFKA_PORT"),
    ({"PORT": 8080, "HTTP_PORT": 8080, **LEGACY}, "PORT, HTTP_PORT"),
    ({"PORT": 8080, "HTTP_PORT": 8083, "GATEWAYS": 4, **LEGACY}, "PORT, HTTP_PORT"),
    ({"PORT": 8080, "GRPC_PORT": 8079, "GATEWAYS": 2, **LEGACY}, "PORT, GRPC_PORT"),
    ({"HTTP_PORT": 9100, "GRPC_PORT": 9101, "GATEWAYS": 2, **LEGACY}, "HTTP_PORT, GRPC_PORT"),
    ({"HTTP_PORT": 9092, **LEGACY}, "HTTP_PORT, KAFKA_PORT"),
    ({"GRPC_PORT": 9093, **LEGACY}, "GRPC_PORT, KAFKA_PORT"),
    ({"AUERBACH_VIEWS_PORT": 8081, "GATEWAYS": 2}, "PORT, AUERBACH_VIEWS_PORT"),
    ({"AUERBACH_BRIDGE_PORT": 8080, **GIVEN}, "PORT, AUERBACH_BRIDGE_PORT"),
    ({"AUERBACH_BRIDGE_PORT": 8181, "GATEWAYS": 2, **LEGACY, **GIVEN}, "HTTP_PORT, AUERBACH_BRIDGE_PORT"),
    ({"AUERBACH_BRIDGE_PORT": 50_051, **LEGACY, **GIVEN}, "GRPC_PORT, AUERBACH_BRIDGE_PORT"),
    ({"AUERBACH_BRIDGE_PORT": 9093, **GIVEN}, "KAFKA_PORT, AUERBACH_BRIDGE_PORT"),
]

PAST = [
    ({"PORT": 65_535, "GATEWAYS": 2}, "PORT: PORT=65535 with GATEWAYS=2 counts up to 65536, past 65535"),
    ({"HTTP_PORT": 65_500, "GATEWAYS": 64, **LEGACY}, "HTTP_PORT: HTTP_PORT=65500 with GATEWAYS=64 counts up to 65563"),
    ({"GRPC_PORT": 65_535, "GATEWAYS": 2, **LEGACY}, "GRPC_PORT: GRPC_PORT=65535 with GATEWAYS=2 counts up to 65536"),
]


@pytest.mark.parametrize(("values", "names"), CLASHES)
def test_a_port_that_is_asked_for_twice_is_told_by_both_names(values: dict[str, object], names: str) -> None:
    assert told(port_faults(settings(**values))) == [names]


def test_every_clash_is_told() -> None:
    faults = port_faults(settings(PORT=9092, HTTP_PORT=9092, GRPC_PORT=9093, **LEGACY))

    assert told(faults) == ["PORT, HTTP_PORT", "PORT, KAFKA_PORT", "HTTP_PORT, KAFKA_PORT", "GRPC_PORT, KAFKA_PORT"]


def test_a_clash_says_which_port_and_how_each_comes_to_it() -> None:
    (fault,) = port_faults(settings(PORT=8080, GATEWAYS=3, KAFKA_PORT=8081))

    assert fault.told == (
        "PORT, KAFKA_PORT: port 8081 is asked for twice: PORT=8080 with GATEWAYS=3 counts up to 8082, and "
        "KAFKA_PORT=8081 takes 8082 for its controller too"
    )
    assert fault.names == {"PORT", "GATEWAYS", "KAFKA_PORT"}


@pytest.mark.parametrize(("values", "line"), PAST)
def test_ports_past_the_last_are_told(values: dict[str, object], line: str) -> None:
    (fault,) = port_faults(settings(**values))

    assert fault.told.startswith(line)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"GATEWAYS": 64, **LEGACY, **GIVEN},
        {"HTTP_PORT": 8080, "GRPC_PORT": 8080},
        {"PORT": 9092, "KAFKA_BOOTSTRAP": "kafka:9092"},
        {"PORT": 9091, "KAFKA_PORT": 9092},
        {"AUERBACH_BRIDGE_PORT": 8080},
    ],
)
def test_ports_that_nothing_shares_pass(values: dict[str, object]) -> None:
    assert told(port_faults(settings(**values))) == []


def test_a_gateway_alone_is_held_against_its_own_doors_only() -> None:
    alone = settings(PORT=9092, HTTP_PORT=9093, GRPC_PORT=9093, GATEWAYS=2, **LEGACY)

    assert told(one_gateways_port_faults(alone)) == ["HTTP_PORT, GRPC_PORT"]


def test_the_bridge_that_is_only_found_is_held_against_all_others() -> None:
    assert told(bridge_port_faults(settings(AUERBACH_BRIDGE_PORT=9093))) == ["KAFKA_PORT, AUERBACH_BRIDGE_PORT"]
