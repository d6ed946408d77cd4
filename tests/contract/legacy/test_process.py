"""The old door of a gateway's process: when it is there, and what it says where nobody owns a group."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from app.kafka import topics
from tests.contract.test_gateway_process import BAD_SETTING, PARTITIONS, Gateway, lines
from tests.support.old_app import OldApp, address
from tests.support.ports import free_ports


@pytest.fixture
def made(module_broker: str) -> str:
    """A broker with the topics."""
    topics.create(module_broker, "auerbach", PARTITIONS, 1)
    return module_broker


async def test_without_the_setting_nobody_listens_on_the_old_port(
    made: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    port = free_ports(1)
    gateway = Gateway(tmp_path, made, HTTP_PORT=str(port))
    await gateway.serves(http)
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(address(port, "g", "alice").with_path("/healthz"))
    gateway.stop()


def test_a_taken_port_of_the_old_door_is_one_line_that_names_the_setting(made: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        gateway = Gateway(tmp_path, made, AUERBACH_LEGACY="1", HTTP_PORT=port, GRPC_PORT=str(free_ports(1)))
        assert gateway.ended() == BAD_SETTING
    [line] = lines(gateway)
    assert line.startswith(f"error: HTTP_PORT: 127.0.0.1:{port}")


async def test_where_no_owner_answers_the_socket_is_accepted_and_fails_with_1011(
    made: str, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ports = {"HTTP_PORT": str(free_ports(1)), "GRPC_PORT": str(free_ports(1))}
    gateway = Gateway(tmp_path, made, AUERBACH_LEGACY="1", AUERBACH_REQUEST_TIMEOUT_S="1", **ports)
    await gateway.serves(http)
    port = int(ports["HTTP_PORT"])
    app = OldApp(await http.ws_connect(address(port, "g", "alice")), "g")
    assert await app.closed() == 1011
    assert app.seen == []
    async with http.get(address(port, "g", "alice").with_path("/healthz")) as response:
        assert response.status == 200
    async with http.get(address(port, "g", "alice").with_path("/readyz")) as response:
        assert response.status == 503
    await asyncio.to_thread(gateway.stop)
