"""What is refused before anything is started, and that the message names the setting."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.cli.launch import preflight
from app.cli.launch.errors import LaunchError
from app.config import Settings
from tests.support.ports import free_ports


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def settings(**values: object) -> Settings:
    return Settings.model_validate({"auth": "dev", **values})


@pytest.fixture
def occupied() -> Iterator[int]:
    port = free_ports(3) + 1  # its neighbours are free
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_an_occupied_gateway_port_is_named_with_its_setting(occupied: int) -> None:
    with pytest.raises(LaunchError, match=rf"^port {occupied} is already in use on 127.0.0.1; .* set PORT \(now "):
        preflight.check_gateway_ports(settings(port=occupied))


def test_a_port_that_counts_up_to_an_occupied_one_is_named(occupied: int) -> None:
    with pytest.raises(LaunchError, match=rf"^port {occupied} is already in use"):
        preflight.check_gateway_ports(settings(port=occupied - 1, gateways=2))


def test_an_occupied_broker_port_is_named_with_both_ways_out(occupied: int) -> None:
    with pytest.raises(
        LaunchError, match=rf"^port {occupied} is .* set KAFKA_PORT \(now {occupied}\), or KAFKA_BOOTSTRAP"
    ):
        preflight.check_kafka_ports(settings(kafka_port=occupied))


def test_an_occupied_controller_port_is_named(occupied: int) -> None:
    with pytest.raises(LaunchError, match=rf"^port {occupied} is "):
        preflight.check_kafka_ports(settings(kafka_port=occupied - 1))


def test_free_ports_pass() -> None:
    first = free_ports(3)

    preflight.check_gateway_ports(settings(port=first))
    preflight.check_kafka_ports(settings(kafka_port=first + 1))


def test_a_port_in_time_wait_is_free() -> None:
    port = free_ports(1)
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first: its port stays in TIME_WAIT
        assert client.recv(1) == b""

    assert preflight.is_free("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"^cannot listen on no-such-host.invalid:8080 .*; set HOST or PORT$"):
        preflight.check_gateway_ports(settings(host="no-such-host.invalid"))


def test_occupied_legacy_ports_are_named_each_with_its_setting(occupied: int) -> None:
    free = free_ports(1)
    with pytest.raises(LaunchError) as refused:
        preflight.check_gateway_ports(settings(port=free, legacy=True, http_port=occupied, grpc_port=occupied))

    assert [line.rpartition("set ")[2] for line in str(refused.value).splitlines()] == [
        f"HTTP_PORT (now {occupied})",
        f"GRPC_PORT (now {occupied})",
    ]


def test_legacy_ports_that_are_not_served_may_be_occupied(occupied: int) -> None:
    preflight.check_gateway_ports(settings(port=free_ports(1), http_port=occupied, grpc_port=occupied))


def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 5_000_000, 5_000_000))

    with pytest.raises(LaunchError, match=rf"^DATA: 5 MB are free on the disk of {tmp_path}; at least 200 MB"):
        preflight.check_disk(tmp_path)


def test_a_disk_without_room_for_a_byte_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)

    with pytest.raises(LaunchError, match=r"^DATA: cannot write in .* \(No space left on device\)$"):
        preflight.check_disk(tmp_path)


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("")

    with pytest.raises(LaunchError, match=r"^DATA: cannot write in "):
        preflight.check_disk(data)


def test_the_data_folder_is_made_with_its_rooms(tmp_path: Path) -> None:
    preflight.check_disk(tmp_path / "a" / "b")

    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["log", "run"]
