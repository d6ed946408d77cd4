"""Partitions side by side: a process a core, and how far they are."""

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from app.cli.verifying.findings import Report
from app.cli.verifying.partition_check import Job, check

_LOOK_S = 0.2
# A record is fifteen objects for the collector, none in a cycle: by default it would run at each fiftieth one
# and go through the fold again and again, a fifth of the time in all.
_COLLECT_OBJECTS = 200_000

_records: Any = None  # of the log, read by all processes: set where a process begins
_stop: Any = None


def run(jobs: Sequence[Job], processes: int | None = None) -> Iterator[Report | int]:
    """Verify the partitions: how many records are read, a few times a second, and each report once it is done.

    Raises:
        app.kafka.consumer.ReadError: the broker did not deliver; all processes have ended then.
    """
    # librdkafka's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    records, stop = context.Value("q", 0), context.Event()
    workers = min(len(jobs), processes or os.cpu_count() or 1)
    pool = ProcessPoolExecutor(workers, context, _begin, (records, stop))
    try:
        # The longest first: the last process to end is then not one that began a long partition late.
        left: set[Future[Report]] = {pool.submit(_one, job) for job in sorted(jobs, key=lambda job: -job.end)}
        while left:
            done, left = wait(left, _LOOK_S, FIRST_COMPLETED)
            yield records.value
            for future in done:
                yield future.result()
        yield records.value
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _begin(records: Any, stop: Any) -> None:
    global _records, _stop
    _records, _stop = records, stop
    gc.set_threshold(_COLLECT_OBJECTS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command hears it, and says stop


def _one(job: Job) -> Report:
    return check(job, _add, _stop.is_set)


def _add(records: int) -> None:
    with _records.get_lock():
        _records.value += records
