"""Writing behind: what changed goes to the changelog, then to RocksDB, in an order that any crash leaves whole.

The steps of one flush (design §4), and what a crash after each leaves:

1. the events and replies of all commands that it covers are delivered (the caller waits for that);
2. the rows go to the changelogs, a group's `head` after its other rows: rows newer than the position, folded again
   without effect;
3. when all of them are reported, each table's position row: the changelog is whole, RocksDB is behind it and is loaded;
4. when that is reported, one RocksDB batch a table of rows, position and changelog offset: done.

RocksDB is never ahead of the changelog: otherwise a restart on this disk would later write a position whose rows
the changelog never got, and a lost disk would then lose events (model.md H1).
"""

import asyncio

from app.kafka import consumer
from app.kafka.producer import Producer
from tables import rows
from tables.partition_tables import PartitionTables, Snapshot
from tables.store import Change, Store

APPEND_ROWS = 10_000  # under way at once: a rebuilt group may have more rows than the producer's queue holds


class FencedError(Exception):
    """A newer owner has claimed the partition: nothing more may be written, not even a flush (rule F2)."""


class TableChangelog:
    """One partition of one table's changelog: the only writer's place in it, and its store."""

    def __init__(self, producer: Producer, bootstrap: str, topic: str, partition: int, store: Store) -> None:
        self._producer = producer
        self._bootstrap = bootstrap
        self.topic = topic
        self._partition = partition
        self._store = store
        self._epoch = -1
        self._next = -1

    async def claim(self, epoch: int, worker: str) -> None:
        """Append the owner's first record. Everything up to it must then be loaded, and `loaded` called."""
        self._epoch = epoch
        row = rows.value(epoch, worker.encode())
        await self._producer.deliver(self.topic, self._partition, key=rows.claim_key(epoch), value=row)

    def loaded(self, offset: int) -> None:
        """The store holds the changelog up to `offset`."""
        self._next = offset + 1

    async def append(self, changes: list[Change]) -> None:
        """Write rows and wait until the broker holds all of them.

        Raises:
            FencedError: another owner has claimed this partition.
            app.kafka.producer.DeliveryError: a row was not taken.
        """
        for start in range(0, len(changes), APPEND_ROWS):
            rows_at_once = changes[start : start + APPEND_ROWS]
            sent = [self._producer.send(self.topic, self._partition, key=key, value=row) for key, row in rows_at_once]
            for offset in await asyncio.gather(*sent):
                if offset != self._next:
                    # Somebody else wrote here. What is stored as read must have been read (model.md H5).
                    await asyncio.to_thread(self._look_for_a_claim, self._next, offset)
                self._next = offset + 1

    def store(self, changes: list[Change]) -> None:
        """Write rows that the changelog holds, and how far it is read, to RocksDB at once."""
        self._store.write(changes, self._next - 1)

    def _look_for_a_claim(self, start: int, end: int) -> None:
        with consumer.reader(self._bootstrap) as reader:
            for message in consumer.read(reader, self.topic, self._partition, start, end):
                key = message.key()
                if key.startswith(rows.CLAIM_PREFIX) and int.from_bytes(key[-8:], "big") > self._epoch:
                    raise FencedError(f"{self.topic}/{self._partition}: a newer owner claimed it in its changelog")


class WriteBehind:
    """The flushes of one partition's two tables."""

    def __init__(self, tables: PartitionTables, changelogs: dict[str, TableChangelog], epoch: int) -> None:
        self._tables = tables
        self._changelogs = changelogs
        self._epoch = epoch

    async def flush(self, snapshot: Snapshot, position: rows.Position) -> None:
        """Steps 2 to 4 for a snapshot whose commands are settled (step 1).

        Raises:
            FencedError, app.kafka.producer.DeliveryError: as `TableChangelog.append`.
        """
        row = rows.encode_position(position, self._epoch)
        changes = {"groups": snapshot.groups, "history": snapshot.history}
        await asyncio.gather(*(self._changelogs[name].append(changes[name]) for name in changes))
        where: list[Change] = [(rows.POSITION_KEY, row)]
        await asyncio.gather(*(self._changelogs[name].append(where) for name in changes))
        unmarked: list[Change] = [(key, None) for key in snapshot.unmarked]
        for name, changelog in self._changelogs.items():
            changelog.store([*changes[name], *where, *unmarked])
        self._tables.written()
