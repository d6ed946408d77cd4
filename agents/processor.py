"""The processor: a Faust worker. `main` runs it until a signal ends it, or a fault that only a new start heals."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faust.types import TP

from agents.announcer import QUEUED_RECORDS, SIGNALS_PRODUCER, Announcer
from agents.commands import CommandRecord
from agents.context import Context
from agents.flusher import ClosedError
from agents.inspection.broker import Broker
from agents.inspection.here import Here
from agents.inspection.inspector import WorkerInspector
from agents.ownership import Ownership
from agents.partition import Partition
from agents.starvation import StarvationWatch
from agents.transport import App, Worker
from agents.views import presence_view, reads_view
from agents.watchdog import Watchdog, WatchedProducer
from app.config import Settings
from app.inspection import Inspector
from app.kafka import positions, topics
from app.kafka.producer import Producer
from app.kafka.topics import Layout
from app.telemetry import logger
from tables.faust_table import WriteBehindTable
from tables.store import Store

log = logger("processor")

EXIT_FAULT = 70  # EX_SOFTWARE: start again; what is not on disk was not acknowledged
REWIND_S = 0.2  # between two rewinds of one partition
HEARTBEAT_S = 0.3  # how soon a worker learns that another came or left, and all wait for it


def spare_the_collector() -> None:
    """Let Python's cycle collector look at new objects only, and seldom.

    What Faust made at import stays for ever, and groups in memory are no garbage: walking all of it over and over takes
    a tenth of the time, in pauses that grow with the state.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000)


def main(settings: Settings, install_pages: Callable[[Any, Inspector], None]) -> None:
    """Run a processor. Returns when a signal ended it.

    `install_pages` gets the worker's own web application (aiohttp's) and what its operators may ask.

    Raises:
        app.kafka.topics.TopicsError: the broker is away, or the topics are not as they must be.
    """
    layout = topics.check(settings.bootstrap, settings.app_id, settings.partitions_given)
    positions.check(settings.bootstrap, settings.app_id, layout)
    _datadir(settings).mkdir(parents=True, exist_ok=True)
    port = settings.views_port or _free_port(settings.views_host)
    processor = _Processor(settings, layout, port)
    install_pages(processor.app.web.web_app, processor.inspector())
    spare_the_collector()
    worker = Worker(processor.app, loglevel="WARNING", redirect_stdouts=False)
    worker.execute_from_commandline()


class _Processor:
    """The Faust app, its tables and its agent, wired to the partitions that this worker owns."""

    def __init__(self, settings: Settings, layout: Layout, port: int) -> None:
        self._settings = settings
        self._layout = layout
        self._url = f"http://{settings.views_host}:{port}"
        self._ownership: Ownership | None = None
        self._producers: list[Producer] = []
        self._watchdog: Watchdog | None = None
        self._rewinding: dict[int, asyncio.Task[None]] = {}
        self._watches: list[asyncio.Task[None]] = []
        self.app = self._faust_app(port)
        self.app.prepare = self._prepare
        self.app.barrier = self._barrier
        self.app.withholds = self._withholds
        self.app.due = self._due
        commands = self.app.topic(
            topics.COMMANDS, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self.groups = self._table("groups", self._open)
        self.history = self._table("history", None)
        self.app.agent(commands, name="commands")(self._serve)
        self.app.on_before_shutdown.connect(self._stop)
        self.app.on_partitions_revoked.connect(self._revoked)
        reads_view(self.app, self._owned_partition, layout)
        presence_view(self.app, self._owned_partition)

    def _faust_app(self, port: int) -> App:
        s = self._settings
        return App(
            s.app_id,
            broker=";".join(f"kafka://{host}" for host in s.bootstrap.split(",")),
            store="rocksdb://",
            datadir=str(_datadir(s)),
            consumer_group_instance_id=s.worker,
            broker_session_timeout=s.session_timeout_s,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_rebalance_timeout=s.session_timeout_s * 3,
            broker_request_timeout=max(s.session_timeout_s * 4, 40.0),
            broker_commit_interval=0.5,
            consumer_auto_offset_reset="earliest",
            topic_partitions=self._layout.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=s.standbys,
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            stream_buffer_maxsize=4096,
            processing_guarantee="at_least_once",
            producer_acks=-1,
            # A static member that restarts gets its old assignment back, and Faust refuses it if this URL has changed:
            # so it names the slot. Where gateways reach this process stands in its owner records.
            canonical_url=f"http://{s.worker}",
            web_bind=s.views_host,
            web_host=s.views_host,
            web_port=port,
            # Faust's own pages know no right: they would give rows of our tables to anybody, and call other hosts.
            web_router_enabled=False,
            web_tables_enabled=False,
            web_graph_enabled=False,
            web_stats_enabled=False,
            web_metrics_enabled=False,
            autodiscover=False,
            reply_create_topic=False,
        )

    def inspector(self) -> Inspector:
        """What operators may ask of this worker."""
        s = self._settings
        log.info("operator pages", url=f"{self._url}/inspect/")
        here = Here(s.worker, self._url, self._layout, self._owned_partition, self._assigned, self._stopped)
        return WorkerInspector(here, Broker(s.bootstrap, s.app_id, self._layout))

    def _assigned(self) -> set[int]:
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == topics.COMMANDS}

    def _stopped(self) -> dict[int, str]:
        return self._ownership.stopped if self._ownership is not None else {}

    def _table(self, name: str, on_recovered: Any) -> WriteBehindTable:
        table = WriteBehindTable(
            self.app,
            name=name,
            partitions=self._layout.partitions,
            bootstrap=self._settings.bootstrap,
            on_recovered=on_recovered,
        )
        self.app.tables.add(table)
        return table

    async def _serve(self, stream: Any) -> None:
        """The agent: one record after the other, acknowledged to Faust when its events and replies are on disk."""
        async for event in stream.noack().events():
            message = event.message
            partition = self._owned_partition(message.partition)
            if partition is None:
                continue
            record = CommandRecord(
                offset=message.offset,
                at_ms=round(message.timestamp * 1000),
                key=message.key,
                value=message.value,
                headers=list(message.headers or ()),
            )
            with contextlib.suppress(ClosedError):  # not acknowledged, so its next owner reads it again
                await partition.submit(record, event.ack)

    async def _open(self, active: set[int]) -> None:
        generation = self.app.consumer_generation_id

        def still_ours() -> bool:
            return bool(self.app.consumer_generation_id == generation and not self.app.should_stop)

        try:
            assert self._ownership is not None
            await self._ownership.open(active, still_ours)
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            if still_ours():
                self._leave(why)

    def _owned_partition(self, number: int) -> Partition | None:
        return self._ownership.get(number) if self._ownership is not None else None

    async def _prepare(self) -> None:
        """Make what belongs to the loop. A new producer's first record may take a second, so that it comes early."""
        watchdog = self._watchdog = Watchdog(self._settings.session_timeout_s / 2, self._leave)
        events, changelog = (WatchedProducer(self._settings.bootstrap, watchdog) for _ in range(2))
        signals = Producer(self._settings.bootstrap, queue_records=QUEUED_RECORDS, extra=SIGNALS_PRODUCER)
        self._producers = [events, changelog, signals]
        context = Context(
            self._settings, self._layout, events, changelog, self._url, self._leave, self._stop_one, self._rewind
        )
        self._ownership = Ownership(context, self._stores)
        starvation = StarvationWatch(self._settings.bootstrap, self._ownership.opened, self._bring, self._leave)
        announcer = Announcer(signals, self._ownership.opened)
        watches = (watchdog.run(), self._ownership.watch_deliveries(), starvation.run(), announcer.run())
        self._watches = [asyncio.create_task(w) for w in watches]

    def _stores(self, partition: int) -> tuple[Store, Store]:
        return self.groups.store(partition), self.history.store(partition)

    async def _barrier(self) -> None:
        if self._watchdog is not None:
            self._watchdog.check()
        if self._ownership is not None:
            with contextlib.suppress(ClosedError):
                await self._ownership.settled()

    def _due(self, tp: TP) -> int | None:
        """The offset of the record of `tp` that is to be read next, None where nobody here knows."""
        partition = self._owned_partition(tp.partition) if tp.topic == topics.COMMANDS else None
        return None if partition is None else partition.next_command

    def _withholds(self, tp: TP) -> bool:
        """Whether Faust must not read from `tp`: our loader reads changelogs, and nobody what cannot be decided."""
        if tp.topic != topics.COMMANDS:
            return True
        return self._ownership is not None and tp.partition in self._ownership.stopped

    async def _revoked(self, *_: Any, **__: Any) -> None:
        await asyncio.gather(self.groups.stand_down(), self.history.stand_down(), self._close())

    async def _close(self) -> None:
        if self._ownership is not None:
            await self._ownership.close()

    async def _stop(self, *_: Any, **__: Any) -> None:
        await self._close()
        await asyncio.gather(*(producer.close(timeout_s=5) for producer in self._producers))
        self._watchdog = None  # nobody beats from here on
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def _rewind(self, number: int, offset: int) -> None:
        if number not in self._rewinding:
            self._rewinding[number] = asyncio.create_task(self._read_again(number, offset))

    def _bring(self, number: int, offset: int) -> None:
        self.app.consumer.resume_partitions({TP(topics.COMMANDS, number)})
        self._rewind(number, offset)

    async def _read_again(self, number: int, offset: int) -> None:
        """Read a partition's commands from `offset` on, or from the oldest that is kept."""
        tp = TP(topics.COMMANDS, number)
        try:
            oldest = int((await self.app.consumer.earliest_offsets(tp))[tp])
            if oldest > offset:
                log.error("commands were deleted before they were decided", partition=number, first=offset, next=oldest)
                if (partition := self._owned_partition(number)) is not None:
                    partition.skip_to(oldest)
            log.warning("commands were passed over: read again", partition=number, first=max(offset, oldest))
            await self.app.consumer.seek(tp, max(offset, oldest))
            await asyncio.sleep(REWIND_S)  # what is on its way from before comes first
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            if self._owned_partition(number) is not None:
                self._leave(why)
        finally:
            del self._rewinding[number]

    def _stop_one(self, number: int, why: Exception) -> None:
        if self._ownership is not None:
            self._ownership.stop(number, why)
            self.app.consumer.pause_partitions({TP(topics.COMMANDS, number)})

    def _leave(self, why: Exception) -> None:
        # At once and without Faust's way out, which would flush and commit: a fenced owner writes nothing more.
        log.error("leaving", worker=self._settings.worker, why=repr(why))
        sys.stderr.flush()
        os._exit(EXIT_FAULT)


def _datadir(settings: Settings) -> Path:
    return settings.data.absolute() / "tables" / settings.worker


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
