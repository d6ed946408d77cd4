"""A real RabbitMQ lets in whoever its settings name, whatever characters are in them."""

import aio_pika
import pytest

from app.config import Settings
from tests.support.rabbit import Rabbit

USER, PASSWORD = "ada@example.org/ü", "@:/%#?&+ %2F ü€"
VIRTUAL_HOST = "chat/of //ü%?#"
PARTS = {"RABBITMQ_USERNAME": USER, "RABBITMQ_PASSWORD": PASSWORD, "RABBITMQ_VIRTUAL_HOST": VIRTUAL_HOST}


@pytest.fixture(scope="module")
def port(rabbit: Rabbit) -> int:
    """A RabbitMQ's, which has that user and virtual host."""
    right = {"user": USER, "vhost": VIRTUAL_HOST, "configure": ".*", "write": ".*", "read": ".*"}
    rabbit.import_definitions(
        {
            "vhosts": [{"name": VIRTUAL_HOST}],
            "users": [{"name": USER, "password": PASSWORD, "tags": ""}],
            "permissions": [right],
        }
    )
    return rabbit.port


async def let_in(settings: Settings) -> None:
    """Log in and declare something, for which the right in that virtual host is needed."""
    async with await aio_pika.connect(settings.rabbitmq_url, timeout=120) as connection:
        channel = await connection.channel()
        await channel.declare_queue(exclusive=True)


async def test_the_parts_are_taken_as_they_are(port: int) -> None:
    await let_in(Settings.model_validate({**PARTS, "RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": port}))


async def test_the_one_address_says_the_same(port: int) -> None:
    url = Settings.model_validate({**PARTS, "RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": port}).rabbitmq_url

    await let_in(Settings.model_validate({"AMQP_URL": url}))


async def test_another_password_is_not_let_in(port: int) -> None:
    wrong = Settings.model_validate({**PARTS, "RABBITMQ_PORT": port, "RABBITMQ_PASSWORD": PASSWORD[:-1]})

    with pytest.raises(aio_pika.exceptions.AMQPConnectionError):
        await let_in(wrong)
