"""One partition from beginning to end: its log, then what was derived from it. Runs in a process of its own."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer

from app.cli.verifying import acks
from app.cli.verifying.findings import Report
from app.cli.verifying.log_check import LogCheck
from app.cli.verifying.owner_check import OwnerCheck
from app.cli.verifying.tables_check import TablesCheck
from app.kafka import consumer, topics
from app.log.records import EventRecord, RecordError, decode_record

PROGRESS_RECORDS = 2_000
STALL_S = 30.0
# Where the beginning is not kept, the claim in force there is looked for in so many records.
LOOKED_AT = 10_000


@dataclass(slots=True, frozen=True)
class Job:
    """One partition to verify, up to the event offset `end`; `scratch` is a folder for what does not fit in memory."""

    bootstrap: str
    app_id: str
    layout: topics.Layout
    partition: int
    end: int
    scratch: Path
    acks: Path | None = None
    tables: bool = True
    owners_within_s: float | None = None


Progress = Callable[[int], None]
Stopped = Callable[[], bool]


def check(job: Job, progress: Progress, stopped: Stopped) -> Report:
    """Verify one partition; `progress` is told how many records of the log were read since it was last told.

    Raises:
        app.kafka.consumer.ReadError: the broker did not deliver, or it was stopped.
    """
    report = Report(job.partition)
    with consumer.reader(job.bootstrap) as reader:
        log = _check_log(job, reader, report, progress, stopped)
        end = _check_tables(job, reader, log, stopped) if job.tables else report.end
        if job.owners_within_s is not None:
            owner = OwnerCheck(job.bootstrap, job.layout, report, log.groups, log.fence, end)
            owner.run(reader, log.broken | log.headless, job.owners_within_s)
    return report


def _check_tables(job: Job, reader: Consumer, log: LogCheck, stopped: Stopped) -> int:
    """Compare the tables; the offset in the log up to which its states are folded now."""
    with tempfile.TemporaryDirectory(prefix=f"{job.partition}-", dir=job.scratch) as folder:
        tables = TablesCheck(job.bootstrap, job.app_id, log, Path(folder))
        try:
            tables.run(reader, stopped)
        finally:
            tables.close()
    return tables.end


def _check_log(job: Job, reader: Consumer, report: Report, progress: Progress, stopped: Stopped) -> LogCheck:
    began = time.process_time()
    report.first, _ = consumer.offsets(reader, topics.EVENTS, job.partition)
    report.end = job.end
    due = acks.load(job.acks)
    report.acks = len(due)
    log = LogCheck(
        report,
        partitions=job.layout.partitions,
        log_id=job.layout.log_id,
        epoch=_epoch_at_first(job, reader, report.first, stopped),
        acks=due,
    )
    unsaid = 0
    for message in consumer.read(reader, topics.EVENTS, job.partition, report.first, job.end, STALL_S, stopped):
        log.take(message.offset(), message.key(), message.value(), message.headers())
        unsaid += 1
        if unsaid == PROGRESS_RECORDS:
            progress(unsaid)
            unsaid = 0
    progress(unsaid)
    log.finish()
    report.log_cpu_s = time.process_time() - began
    return log


def _epoch_at_first(job: Job, reader: Consumer, first: int, stopped: Stopped) -> int:
    """The claim in force at `first`, where the claims before it are not kept: the highest that its records name.

    A claim names an offset, so records of an owner before the one in force name a lower one.
    """
    epoch = -1
    end = min(job.end, first + LOOKED_AT) if first > 0 else first
    for message in consumer.read(reader, topics.EVENTS, job.partition, first, end, STALL_S, stopped):
        try:
            record = decode_record(
                offset=message.offset(), key=message.key(), value=message.value(), headers=message.headers()
            )
        except RecordError:
            continue
        if not isinstance(record, EventRecord):
            break
        if record.epoch < first:
            epoch = max(epoch, record.epoch)
    return epoch
