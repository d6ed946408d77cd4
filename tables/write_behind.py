"""Writing behind: what changed goes to the changelog, then to RocksDB, in an order that any crash leaves whole.

The steps of one flush (design §4), and what a crash after each leaves:

1. the events and replies of all commands that it covers are delivered (the caller waits for that);
2. the rows go to the changelogs, a group's `head` after its other rows: rows newer than the position, folded again
   without effect; and again what late rows of owners before have replaced meanwhile;
3. when all of them are reported, each table's position row: the changelog is whole, RocksDB is behind it and is loaded;
4. when that is reported, one RocksDB batch a table of rows, position and changelog offset: done.

RocksDB is never ahead of the changelog: otherwise a restart on this disk would later write a position whose rows
the changelog never got, and a lost disk would then lose events (model.md H1).

A late row of an owner before is void for a loader that sees the claim before it (rule F3), but compaction may drop what
it replaced, and a deletion itself after a day. So whoever sees one writes the right row behind it: this owner here,
the next one by building the row's group anew. What stands before an owner's claim then never counts again, and the
claims before its own may go.
"""

import asyncio
from collections.abc import Iterable

from app.kafka import consumer
from app.kafka.producer import DeliveryError, Producer
from tables import rows
from tables.loader import EPOCH_HEADER, epoch_of
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
        self._replaced: set[bytes] = set()
        self._dead_claims: set[bytes] = set()

    async def claim(self, epoch: int, worker: str) -> None:
        """Append the owner's first record. Everything up to it must then be loaded, and `loaded` called."""
        self._epoch = epoch
        row = rows.value(epoch, worker.encode())
        await self._producer.deliver(self.topic, self._partition, key=rows.claim_key(epoch), value=row)

    def loaded(self, offset: int) -> None:
        """The store holds the changelog up to `offset`.

        Raises:
            FencedError: a newer owner's claim is in it.
        """
        self._next = offset + 1
        self._take_claims(key for key, _ in self._store.scan(rows.CLAIM_PREFIX))

    async def append(self, changes: list[Change]) -> None:
        """Write rows and wait until the broker holds all of them.

        Raises:
            FencedError: another owner has claimed this partition.
            app.kafka.producer.DeliveryError: a row was not taken.
        """
        for start in range(0, len(changes), APPEND_ROWS):
            part = changes[start : start + APPEND_ROWS]
            last = await self._send(part)
            if last < self._next + len(part) - 1:
                raise DeliveryError(self.topic, self._partition, None)
            if last > self._next + len(part) - 1:
                # Somebody else wrote here. What is stored as read must have been read (model.md H5).
                self._take_foreign(await asyncio.to_thread(self._read, self._next, last))
            self._next = last + 1

    async def heal(self, written: list[Change]) -> None:
        """Write again what late rows of owners before have replaced; `written` is what this flush has written.

        Raises:
            Exception: as `append`.
        """
        now = dict(written)
        while self._replaced:
            keys, self._replaced = self._replaced, set()
            await self.append([(key, now[key] if key in now else self._own(self._store.get(key))) for key in keys])

    async def drop_claims(self) -> list[Change]:
        """Delete the claims before the own one, which nothing depends on once all before it is healed; what to store.

        Raises:
            Exception: as `append`.
        """
        dead: list[Change] = [(key, None) for key in self._dead_claims]
        self._dead_claims = set()
        await self.append(dead)
        return dead

    def store(self, changes: list[Change]) -> None:
        """Write rows that the changelog holds, and how far it is read, to RocksDB at once."""
        self._store.write(changes, self._next - 1)

    def _send(self, changes: list[Change]) -> asyncio.Future[int]:
        return self._producer.send_all(self.topic, self._partition, changes, [(EPOCH_HEADER, b"%d" % self._epoch)])

    def _take_foreign(self, keys: list[bytes]) -> None:
        self._take_claims(key for key in keys if key.startswith(rows.CLAIM_PREFIX))
        self._replaced.update(key for key in keys if rows.group_of(key) is not None)

    def _take_claims(self, keys: Iterable[bytes]) -> None:
        own = rows.claim_key(self._epoch)
        for key in keys:
            if key > own:
                raise FencedError(f"{self.topic}/{self._partition}: a newer owner claimed it in its changelog")
            if key < own:
                self._dead_claims.add(key)

    def _own(self, row: bytes | None) -> bytes | None:
        return None if row is None else rows.value(self._epoch, rows.payload_of(row))

    def _read(self, start: int, end: int) -> list[bytes]:
        """The keys of the rows of others from `start` to `end`, where rows of our own may stand between them."""
        with consumer.reader(self._bootstrap) as reader:
            found = consumer.read(reader, self.topic, self._partition, start, end)
            return [message.key() for message in found if epoch_of(message) != self._epoch]


class WriteBehind:
    """The flushes of one partition's two tables."""

    def __init__(self, tables: PartitionTables, changelogs: dict[str, TableChangelog], epoch: int) -> None:
        self._tables = tables
        self._changelogs = changelogs
        self._epoch = epoch
        self.healed: set[str] = set()  # the tables of which the snapshots to come hold all that is to be built anew

    def changelog(self, name: str) -> TableChangelog:
        """The changelog of a table."""
        return self._changelogs[name]

    async def flush(self, snapshot: Snapshot, position: rows.Position) -> None:
        """Steps 2 to 4 for a snapshot whose commands are settled (step 1).

        Raises:
            FencedError, app.kafka.producer.DeliveryError: as `TableChangelog.append`.
        """
        written = {name: self._changelogs[name] for name in snapshot.tables}
        await asyncio.gather(*(self._write_rows(name, snapshot.changes(name)) for name in written))
        where: list[Change] = [(rows.POSITION_KEY, rows.encode_position(position, self._epoch))]
        await asyncio.gather(*(changelog.append(where) for changelog in written.values()))
        unmarked: list[Change] = [(key, None) for key in snapshot.unmarked]
        for name, changelog in written.items():
            dropped = await changelog.drop_claims() if name in self.healed else []
            changelog.store([*snapshot.changes(name), *where, *unmarked, *dropped])
        self._tables.written(snapshot.tables)

    async def _write_rows(self, name: str, changes: list[Change]) -> None:
        await self._changelogs[name].append(changes)
        await self._changelogs[name].heal(changes)
