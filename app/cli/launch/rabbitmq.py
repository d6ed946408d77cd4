"""Whether `up` runs a bridge: where somebody said that there is a RabbitMQ, and where one answers anyway."""

import asyncio
import contextlib

from app.cli.launch import preflight
from app.cli.launch.errors import LaunchError
from app.cli.launch.ports import bridge_port_faults
from app.config import Settings

_ANSWER_S = 5.0  # it takes milliseconds, unless the machine stands still; nobody to connect to is told at once
# The protocol header of AMQP 0-9-1 (§4.2.2). A broker answers with Connection.Start: a method frame (1) on channel 0.
_HEADER = b"AMQP\x00\x00\x09\x01"
_START = b"\x01\x00\x00"
_HOW = (
    "for one: apt-get install rabbitmq-server (Debian), or docker compose up -d rabbitmq, or set AMQP_URL or "
    "RABBITMQ_HOST to one that is there"
)


async def why_away(settings: Settings) -> str | None:
    """Why no bridge is started. One that was named is waited for by the bridge; one that was not must answer now."""
    if settings.rabbitmq_given or await answers(settings.rabbitmq_host, settings.rabbitmq_port):
        return None
    return f"no RabbitMQ answers at {settings.rabbitmq_place}; {_HOW}"


def why_no_port(settings: Settings) -> str | None:
    """Why a bridge that is claimed cannot be started.

    Raises:
        LaunchError: the same, where RabbitMQ was named. Where it was only found, perhaps by a second service on this
            machine, the rest goes without.
    """
    why = next((fault.told for fault in bridge_port_faults(settings)), None) or preflight.bridge_port_in_use(settings)
    if why is not None and settings.rabbitmq_given:
        raise LaunchError(why)
    return why


async def answers(host: str, port: int) -> bool:
    """Whether something there speaks AMQP 0-9-1, within `_ANSWER_S`."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_HEADER)
                return await reader.readexactly(len(_START)) == _START
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, EOFError, TimeoutError):
        return False
