"""A bare aio-pika consumer that acknowledges each message and does nothing else: the limit of AMQP in."""

import asyncio
from pathlib import Path

import aio_pika
import click
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.limits.progress import Progress


async def _consume(url: str, queue_name: str, prefetch: int, progress: Progress) -> None:
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(queue_name)

    async def on_message(message: AbstractIncomingMessage) -> None:
        await message.ack()
        progress.add(1)

    await queue.consume(on_message, exclusive=True)
    await asyncio.Event().wait()


@click.command()
@click.option("--url", required=True)
@click.option("--queue", required=True)
@click.option("--prefetch", type=int, required=True)
@click.option("--progress", type=click.Path(path_type=Path), required=True)
def main(url: str, queue: str, prefetch: int, progress: Path) -> None:
    """Consume until killed."""
    uvloop.run(_consume(url, queue, prefetch, Progress(progress)))


if __name__ == "__main__":
    main()
