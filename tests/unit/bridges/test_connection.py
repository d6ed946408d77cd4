"""What a person is told of a lost RabbitMQ: the setting that is at fault, and never the password."""

import asyncio

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ChannelAccessRefused,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)

from app.config import Settings
from bridges import amqp_inbound, connection
from bridges.connection import Link, LostError, explain
from bridges.inbound.declaring import DECLARE_S

SETTINGS = Settings(rabbitmq_host="mq", rabbitmq_username="ada", rabbitmq_password="geheim", rabbitmq_virtual_host="v")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ProbableAuthenticationError("ACCESS_REFUSED"), "RABBITMQ_USERNAME, RABBITMQ_PASSWORD: "),
        (ConnectionNotAllowed("vhost v is down"), "RABBITMQ_VIRTUAL_HOST: "),
        (InvalidFrameError("got <Connection.Close object>"), "RABBITMQ_VIRTUAL_HOST: "),
        (AMQPConnectionError(111, "Connect call failed"), "RABBITMQ_HOST, RABBITMQ_PORT: "),
        (AMQPConnectionError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "AMQP_URL, SSL_CERT_FILE: "),
        (ConnectionRefusedError(111, "refused"), "RABBITMQ_HOST, RABBITMQ_PORT: "),
        (ChannelAccessRefused("ACCESS_REFUSED - access to queue"), "RabbitMQ at mq:5672, virtual host v: ada lacks"),
        (TimeoutError(), "RabbitMQ at mq:5672, virtual host v does not answer"),
        (AMQPError("odd"), "RabbitMQ at mq:5672, virtual host v: odd"),
        (LostError("Kafka is away"), "Kafka is away"),
    ],
)
def test_an_error_names_the_setting_or_the_place(error: Exception, told: str) -> None:
    assert explain(SETTINGS, error).startswith(told)
    assert "geheim" not in explain(SETTINGS, error)


async def test_a_link_waits_for_rabbitmq_from_the_start_and_ends_when_it_is_told() -> None:
    stopping = asyncio.Event()
    link = Link(SETTINGS, "in", stopping)
    stopping.set()

    await asyncio.wait_for(link.run(lambda _: asyncio.sleep(0)), 60)

    assert link.waits_for == "RabbitMQ at mq:5672, virtual host v"


@pytest.mark.parametrize(
    "asked_and_answered_s",
    [
        (connection.CONNECT_S,),
        (connection.PROBE_S, connection.ANSWER_S),
        (amqp_inbound.CHECK_S, DECLARE_S),
        (amqp_inbound.SLOW_S,),
        (amqp_inbound.KAFKA_S,),
        (amqp_inbound.ASK_S[1], connection.ANSWER_S),
    ],
    ids=["connecting", "a RabbitMQ that hangs", "a queue that is gone", "a slow Kafka", "no Kafka", "another's end"],
)
def test_whatever_fails_is_noticed_within_ten_seconds(asked_and_answered_s: tuple[float, ...]) -> None:
    """That it is noticed at all is held by tests/integration/amqp_inbound, on machines of any speed."""
    assert sum(asked_and_answered_s) < 10
