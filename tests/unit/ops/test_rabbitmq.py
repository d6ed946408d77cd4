"""When `up` starts a bridge: RabbitMQ was named, or one answers."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.cli.launch import rabbitmq
from app.cli.launch.errors import LaunchError
from app.config import Settings
from tests.support.ports import free_ports

# What RabbitMQ 3.10 answers with begins so: a method frame on channel 0, its length, Connection.Start.
START = b"\x01\x00\x00\x00\x00\x01\xf7\x00\x0a\x00\x0a\x00\x09"


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that takes eight bytes, answers, and hangs up; its port."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(8)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


def settings(**values: object) -> Settings:
    return Settings.model_validate({"AUERBACH_BRIDGE_PORT": free_ports(1), **values})


async def test_a_rabbitmq_that_answers_gets_a_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "_ANSWER_S", 60)
    with answering(START) as port:
        assert await rabbitmq.why_away(settings(RABBITMQ_PORT=port)) is None


@pytest.mark.parametrize("answer", [b"", b"\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00"])
async def test_what_does_not_speak_amqp_0_9_1_gets_none(answer: bytes) -> None:
    with answering(answer) as port:
        assert not await rabbitmq.answers("127.0.0.1", port)


async def test_what_takes_the_connection_and_says_nothing_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "_ANSWER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not await rabbitmq.answers("127.0.0.1", silent.getsockname()[1])


async def test_without_one_the_line_says_where_it_was_looked_for_and_how_to_get_one() -> None:
    port = free_ports(1)

    why = await rabbitmq.why_away(settings(RABBITMQ_PORT=port))

    assert why is not None
    assert why.startswith(f"no RabbitMQ answers at 127.0.0.1:{port}, virtual host /; ")
    assert all(way in why for way in ("apt-get install rabbitmq-server", "docker compose up -d rabbitmq", "AMQP_URL"))
    assert len(why.splitlines()) == 1


@pytest.mark.parametrize("named", [{"AMQP_URL": "amqp://127.0.0.1:1"}, {"RABBITMQ_HOST": "nowhere.invalid"}])
async def test_one_that_was_named_is_waited_for(named: dict[str, str]) -> None:
    assert await rabbitmq.why_away(settings(**named)) is None


def test_a_bridge_that_was_asked_for_is_refused_an_occupied_port() -> None:
    port = free_ports(1)
    asked = settings(AUERBACH_BRIDGE_PORT=port, RABBITMQ_HOST="127.0.0.1")

    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(LaunchError, match=rf"^port {port} is .* set AUERBACH_BRIDGE_PORT \(now {port}\)$"),
    ):
        rabbitmq.why_no_port(asked)


def test_one_that_was_only_found_leaves_the_rest_alone() -> None:
    port = free_ports(1)

    with socket.create_server(("127.0.0.1", port)):
        why = rabbitmq.why_no_port(settings(AUERBACH_BRIDGE_PORT=port))

    assert why is not None
    assert f"AUERBACH_BRIDGE_PORT (now {port})" in why


def test_one_that_was_found_does_not_take_a_gateways_port() -> None:
    port = free_ports(1)

    why = rabbitmq.why_no_port(settings(PORT=port, AUERBACH_BRIDGE_PORT=port))

    assert why is not None
    assert why.startswith(f"PORT, AUERBACH_BRIDGE_PORT: port {port} is asked for twice")
