"""`python -m benchmarks.limits.agent`: a bare Faust agent in a processor's place, in a process of its own.

On our transport and with a processor's settings of Faust, but without tables: what Faust costs whoever uses it. It
acknowledges each record at once or, with `--forward`, when it has written a record for each command through librdkafka.
"""

import asyncio
from pathlib import Path
from typing import Any

import click

from agents.processor import HEARTBEAT_S, spare_the_collector
from agents.transport import App, Worker
from app.config import Settings
from app.kafka.producer import Producer
from app.telemetry import configure_logging
from benchmarks.limits import topics
from benchmarks.limits.progress import Progress
from benchmarks.limits.written import records_of

ASSIGNED = "assigned"
_FLUSH_S = 10


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--partitions", required=True, type=int)
@click.option("--forward", is_flag=True)
@click.option("--progress", required=True, type=click.Path(path_type=Path), help="The file that counts what is done.")
def main(bootstrap: str, partitions: int, forward: bool, progress: Path) -> None:
    """Acknowledge, or forward, until SIGTERM."""
    configure_logging("INFO")
    agent = _Agent(bootstrap, partitions, forward, progress)
    spare_the_collector()
    Worker(agent.app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


class _Agent:
    """The Faust app and its agent."""

    def __init__(self, bootstrap: str, partitions: int, forward: bool, progress: Path) -> None:
        self._bootstrap = bootstrap
        self._forward = forward
        self._counted = Progress(progress)
        self._producer: Producer | None = None
        topic = topics.FORWARD if forward else topics.ACKNOWLEDGE
        self.app = _app(topic, bootstrap, partitions, progress.parent)
        self.app.prepare = self._prepare
        self.app.barrier = self._barrier
        self.app.withholds = lambda _: False
        self.app.due = lambda _: None
        commands = self.app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self.app.agent(commands, name="commands")(self._serve)
        self.app.on_partitions_assigned.connect(_say_assigned)

    async def _serve(self, stream: Any) -> None:
        async for event in stream.noack().events():
            records = list(records_of(event.message.value))
            if self._producer is None:
                self._counted.add(len(records))
                event.ack()
                continue
            for n, (value, headers) in enumerate(records, 1):
                report = self._reporting(event, n) if n == len(records) else None
                self._producer.produce(
                    topics.EVENTS,
                    event.message.partition,
                    key=event.message.key,
                    value=value,
                    headers=headers,
                    report=report,
                )

    def _reporting(self, event: Any, count: int) -> Any:
        def report(_: int | None, error: object) -> None:
            assert error is None, error
            self._counted.add(count)
            event.ack()

        return report

    async def _prepare(self) -> None:
        if self._forward:
            self._producer = Producer(self._bootstrap, queue_records=500_000)

    async def _barrier(self) -> None:
        deadline = asyncio.get_running_loop().time() + _FLUSH_S
        while self._producer is not None and len(self._producer) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _say_assigned(_: Any, assigned: Any, **__: Any) -> None:
    print(ASSIGNED, len(assigned), flush=True)


def _app(topic: str, bootstrap: str, partitions: int, folder: Path) -> App:
    s = Settings()
    return App(
        topic,
        broker=f"kafka://{bootstrap}",
        datadir=str(folder / topic),
        consumer_group_instance_id=topic,
        broker_session_timeout=s.session_timeout_s,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_rebalance_timeout=s.session_timeout_s * 3,
        broker_request_timeout=max(s.session_timeout_s * 4, 40.0),
        broker_commit_interval=0.5,
        consumer_auto_offset_reset="earliest",
        topic_partitions=partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=4096,
        processing_guarantee="at_least_once",
        producer_acks=-1,
        canonical_url=f"http://{topic}",
        web_enabled=False,
        autodiscover=False,
        reply_create_topic=False,
    )


if __name__ == "__main__":
    main()
