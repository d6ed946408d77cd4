"""`python -m benchmarks.amqp_out`: how many events a second a bridge publishes, confirmed, from the log to RabbitMQ.

A broker and a RabbitMQ of their own. The log is filled with messages of many groups (120 bytes of text and a key each);
then, in rounds that take turns: the limit, a bare channel of aiormq on which as many equal frames are published with
confirms, a thousand under way, by a process that reads nothing; and a bridge that begins at the log's oldest record,
from its first to its last confirmed event. Behind the exchange is one durable queue.
"""

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack

import aio_pika
import click

from app.kafka import topics
from benchmarks.figures import Figure, load_now, say, tell
from benchmarks.lab import lab
from benchmarks.verify import fill
from bridges.outbound.channel import Outgoing, Publisher
from bridges.outbound.flow import AT_ONCE
from tests.support.amqp_out import OutBridge, bound_queue
from tests.support.rabbit import Rabbit, running
from tests.support.waiting import eventually

QUICK = "--rounds 1 --events 2000 --groups 8 --partitions 2"
TARGET = 5_000
BODY = b"x" * 420  # what an event of the log here has
_S = 300


async def bare(url: str, exchange: str, events: int) -> float:
    """Publish as many equal messages on a bare channel; the seconds from the first to the last confirmation."""
    done = sent = 0
    changed = asyncio.Event()

    def on_confirmed() -> None:
        nonlocal done
        done += 1

    connection = await aio_pika.connect(url)
    publisher = await Publisher.open(connection, {exchange: "topic"}, changed.set)
    message = Outgoing(
        exchange,
        "group.g.message.posted",
        message_id="rk3fQ2x1TZ2m0n4bq7uYQA.2.44.0",
        kind="message.posted",
        content_type="application/json",
        at_ms=0,
        headers={"seq": 1, "epoch": 0, "kind": "message.posted", "group": "g", "partition": 0, "offset": 1},
        body=BODY,
        confirmed=on_confirmed,
    )
    began = time.monotonic()
    while done < events and publisher.fault is None:
        batch = min(AT_ONCE, publisher.room[0], events - sent)
        if batch:
            await publisher.publish([message] * batch)
            sent += batch
        else:
            changed.clear()
            await changed.wait()
    took_s = time.monotonic() - began
    await connection.close()
    return took_s


def limit(rabbit: Rabbit, exchange: str, events: int) -> float:
    """Events a second of the bare publisher, in a process of its own."""
    program = (
        "import asyncio, sys, uvloop; from benchmarks.amqp_out import bare\n"
        "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:\n"
        "    print(runner.run(bare(sys.argv[1], sys.argv[2], int(sys.argv[3]))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, rabbit.url, exchange, str(events)],
        stdout=subprocess.PIPE,
        timeout=_S,
        check=True,
    )
    return events / float(ran.stdout)


def confirmed(bridge: OutBridge) -> float:
    """Events that RabbitMQ has confirmed to the bridge."""
    return bridge.metric('auerbach_bridge_out_events_total{fate="confirmed"}')


def bridged(bridge: OutBridge, events: int) -> float:
    """Events a second of the bridge, between what it had done when it was first seen at work and the last one."""
    bridge.start()
    eventually(lambda: bridge.waits_for() is not None, within_s=_S, what="the bridge's health")
    began, first = 0.0, 0.0
    while first == 0:
        began, first = time.monotonic(), confirmed(bridge)
        time.sleep(0.02)
    last = first
    while last < events:
        time.sleep(0.05)
        last = confirmed(bridge)
        if time.monotonic() - began > _S:
            raise RuntimeError(f"{last:,.0f} of {events:,} events in {_S} s:\n{bridge.printed()[-2000:]}")
    rate = (last - first) / (time.monotonic() - began)
    bridge.stop()
    return rate


@click.command()
@click.option("--events", default=100_000, show_default=True, help="Messages in the log.")
@click.option("--groups", default=500, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--partitions", default=16, show_default=True)
def main(events: int, groups: int, rounds: int, partitions: int) -> None:
    """Measure it."""
    load = load_now()
    bare_rates, rates = [], []
    with ExitStack() as stack:
        service = stack.enter_context(lab(partitions))
        rabbit = stack.enter_context(running(service.folder / "rabbit"))
        fill(service, events, groups, members=2)
        for number in range(rounds):
            exchange, app_id = f"events-{number}", f"bench-{number}"  # a consumer group of its own: from the start
            topics.create(service.bootstrap, app_id, partitions, replication=1)
            queue = bound_queue(rabbit, exchange, "#")
            bare_rates.append(limit(rabbit, exchange, events))
            rabbit.ctl("purge_queue", queue)
            bridge = OutBridge(
                service.bootstrap,
                rabbit,
                service.folder / app_id,
                exchange,
                AUERBACH_APP_ID=app_id,
                AUERBACH_AMQP_EVENTS_FROM="earliest",
            )
            stack.callback(bridge.stop)
            rates.append(bridged(bridge, events))
            rabbit.ctl("purge_queue", queue)
            say(f"round {number + 1}: bare {bare_rates[-1]:,.0f}/s, bridge {rates[-1]:,.0f}/s")
    bare_rate = Figure("a bare channel, a thousand under way", "messages/s", bare_rates)
    figures = [bare_rate, Figure("a bridge, from the log", "events/s", rates, at_least=TARGET, limit=bare_rate)]
    tell(f"amqp_out: {events:,} events, {groups} groups", load, figures)


if __name__ == "__main__":
    main()
