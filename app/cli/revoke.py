"""`python -m app revoke`: end a user's sessions, and refuse the tokens issued until now (protocol §9)."""

import asyncio
import math
import time

import click
from confluent_kafka import KafkaException

from app.cli.topics import reachable
from app.domain import rules
from app.kafka import topics
from app.kafka.consumer import ReadError
from app.kafka.partition import partition_for
from app.kafka.producer import DeliveryError, Producer, QueueFullError
from app.revocations import encode_revocation

DELIVER_S = 15.0
FLUSH_S = 1.0


@click.command()
@click.argument("user")
def command(user: str) -> None:
    """Close USER's sockets at every gateway (4510), and refuse the tokens issued until now.

    Exit code 0: the broker holds it, and every gateway acts on it at once, or when it starts. 1: it is not known
    whether the broker holds it: do it again. 2: nothing was revoked.
    """
    if why := rules.bad_id(user):
        raise click.BadParameter(why, param_hint="USER")
    settings = reachable()
    layout = topics.check(settings.bootstrap, settings.app_id, settings.partitions_given)
    revoked_at = time.time()
    asyncio.run(publish(settings.bootstrap, layout.partitions, user, revoked_at))
    # Tokens say whole seconds, and those of this one are refused: one that is issued when we have ended must not be.
    time.sleep(max(0.0, held_from(revoked_at) - time.time()))
    click.echo(f"revoked: the sockets of {click.format_filename(user)} close, tokens issued until now are refused")


def held_from(revoked_at: float) -> int:
    """The first second whose tokens hold again: the instant is written in milliseconds, rounded up."""
    return math.floor(math.ceil(revoked_at * 1000) / 1000) + 1


async def publish(bootstrap: str, partitions: int, user: str, revoked_at: float) -> None:
    """Write the revocation of `user`'s tokens issued until `revoked_at` (seconds since 1970); held when this returns.

    Raises:
        ReadError: the broker did not confirm it in time: it may hold it, or not.
    """
    key = user.encode()
    producer = Producer(bootstrap, queue_records=1)
    try:
        async with asyncio.timeout(DELIVER_S):
            await producer.deliver(
                topics.REVOCATIONS, partition_for(key, partitions), key=key, value=encode_revocation(revoked_at)
            )
    except (DeliveryError, QueueFullError, KafkaException, TimeoutError) as failed:
        raise ReadError(f"{bootstrap}: the broker did not confirm the revocation: {failed!r}") from failed
    finally:
        await producer.close(FLUSH_S)
