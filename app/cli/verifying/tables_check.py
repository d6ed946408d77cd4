"""One partition's tables against the log: what a new owner would make of the changelogs must be the fold of the log.

The changelogs are loaded onto an empty disk and the log is folded on from their position, as an owner does at its
opening: whatever a flush that is under way has left half done is healed by that, so nothing that is merely late is
taken for a difference. Beside it the history of the whole log is folded onto another empty disk, with the same code,
and all rows of both are compared. Memory stays bounded; the disks hold the partition's history twice.
"""

from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer
from rocksdict import Options, Rdict

from app.cli.verifying import rows_check
from app.cli.verifying.findings import Report
from app.cli.verifying.log_check import UNREADABLE, LogCheck
from app.domain.events import Event, decode_event
from app.domain.evolve import SeqGapError, evolve
from app.domain.state import Group
from app.kafka import consumer, topics
from app.log.fence import Fence, valid_event
from app.log.records import EventRecord, RecordError
from tables import history_rows, loader
from tables.history import History
from tables.partition_tables import PartitionTables
from tables.store import RocksStore, Store, position

FLUSH_ROWS = 5_000
STALL_S = 30.0
_NO_OWNER = 0  # the epoch of the rows that are written here; payloads are what is compared


class TablesCheck:
    """The tables of the partition that `log` has checked; `folder` is an empty one for its disks.

    After `run`, the states and the fence of `log` are those at the events offset `end`.
    """

    def __init__(self, bootstrap: str, app_id: str, log: LogCheck, folder: Path) -> None:
        self.end = log.report.end
        self._bootstrap = bootstrap
        self._topics = topics.changelogs(app_id)
        self._log = log
        self._report: Report = log.report
        self._disks = [Rdict(str(folder / name), Options(raw_mode=True)) for name in ("groups", "history", "folded")]
        groups, history, folded = map(RocksStore, self._disks)
        self._stored = PartitionTables(groups, history)
        self._empty: Store = folded
        self._folded = History(folded)
        self._torn: set[str] = set()

    def close(self) -> None:
        """Let go of the disks."""
        for disk in self._disks:
            disk.close()

    def run(self, reader: Consumer, stopped: Callable[[], bool]) -> None:
        """Load, fold, compare.

        Raises:
            app.kafka.consumer.ReadError: the broker did not deliver, or it was stopped.
        """
        partition = self._report.partition
        for name, topic in self._topics.items():
            loader.load(self._bootstrap, topic, partition, self._stored.stores[name], stopped)
        # Behind the rows: whatever they know of was in the log before.
        first, self.end = consumer.offsets(reader, topics.EVENTS, partition)
        start = min(self._reached(name) for name in self._topics)
        stale = self._stored.stale_groups()
        self._log.fence = Fence(self._log.first_epoch)
        for message in consumer.read(reader, topics.EVENTS, partition, first, self.end, STALL_S, stopped):
            try:
                record = valid_event(message, self._log.fence)
            except RecordError:
                continue  # said already, or written since
            if record is not None:
                self._fold(record, stored=record.offset >= start)
        self._finish()
        skipped = stale | self._log.broken | self._log.headless | self._torn
        self._say_skipped(stale)
        whole = self._report.first == 0
        rows_check.compare_groups(self._report, self._stored, self._log.groups, skipped, whole=whole)
        rows_check.compare_history(self._report, self._stored.stores["history"], self._empty, skipped, whole=whole)

    def _reached(self, table: str) -> int:
        """The event offset that a table's rows reach; 0 for no rows."""
        reached = position(self._stored.stores[table])
        if reached is None:
            return 0
        if reached.event_offset > self.end:
            what = f"its position is the offset {reached.event_offset}, the log ends at {self.end}"
            self._report.find("groups" if table == "groups" else "history", what)
        return reached.event_offset

    def _fold(self, record: EventRecord, *, stored: bool) -> None:
        if record.group in self._log.broken:
            return
        try:
            event = decode_event(record.value)
            if record.offset >= self._report.end:
                self._fold_new(record, event)
        except (*UNREADABLE, SeqGapError):
            self._log.broken.add(record.group)
            return
        if event.group in self._log.headless:
            return
        self._folded.fold(event, record.value)
        if self._folded.unwritten() >= FLUSH_ROWS:
            self._flush_folded()
        if stored and event.group not in self._torn:
            self._fold_on(record, event)

    def _fold_new(self, record: EventRecord, event: Event) -> None:
        """An event that was written since the log was checked."""
        state = self._log.groups.get(event.group)
        if state is None:
            state = self._log.groups[event.group] = Group(event.group)
        evolve(state, event, record.request).touched.clear()

    def _fold_on(self, record: EventRecord, event: Event) -> None:
        try:
            self._stored.apply(event, record.value, record.request)
        except SeqGapError as gap:
            self._torn.add(event.group)
            if event.group not in self._stored.stale_groups():
                what = f"its rows lack events that their position promises: {gap}"
                self._report.find("groups", what, offset=record.offset, group=event.group, seq=event.seq)
        if self._stored.unwritten() >= FLUSH_ROWS:
            self._flush_stored()

    def _flush_folded(self) -> None:
        self._empty.write(self._folded.take(_NO_OWNER), -1)
        self._folded.written()

    def _flush_stored(self) -> None:
        snapshot = self._stored.snapshot(_NO_OWNER)
        for name, store in self._stored.stores.items():
            store.write(snapshot.changes(name), store.offset())
        self._stored.written()

    def _finish(self) -> None:
        """Write all, and let what retention has begun come to its end: a slice of it goes with each flush."""
        self._flush_stored()
        self._flush_folded()
        while any(True for _ in self._stored.stores["history"].scan(history_rows.SWEEP_PREFIX)):
            self._flush_stored()
        while any(True for _ in self._empty.scan(history_rows.SWEEP_PREFIX)):
            self._flush_folded()

    def _say_skipped(self, stale: set[str]) -> None:
        unproven = self._report.unproven
        for groups, what in (
            (stale, "groups with void rows, which their next owner builds anew: their rows"),
            (self._log.broken, "groups whose log has a fault: their rows"),
            (self._log.headless, "groups whose life began before the log that is kept: their rows"),
        ):
            if groups:
                unproven[what] += len(groups)
