"""The rules of design §4 that tests switch off, each to show that without it something is seen to break.

`switch_off(rule, patch)` replaces what holds the rule; `patch` is `setattr`, or a monkeypatch's that takes it back.
"""

from collections.abc import Callable
from typing import Any

from agents import opening, ownership, partition, starvation, transport
from agents.event_log import EventLog
from agents.opening import Opened, Opening
from agents.watchdog import Watchdog
from app.log.fence import Fence
from app.log.records import NOWHERE, ClaimRecord, CommandPlace, EventRecord
from tables import group_rows, loader, rows
from tables.partition_tables import PartitionTables, Snapshot
from tables.write_behind import TableChangelog, WriteBehind

Patch = Callable[[Any, str, Any], object]


def switch_off(rule: str, patch: Patch) -> None:
    """Switch `rule` off."""
    _RULES[rule](patch)


def _f1(patch: Patch) -> None:
    """Every reader voids a record whose epoch is lower than the highest claim."""

    def admits(self: Fence, record: EventRecord | ClaimRecord) -> bool:
        if isinstance(record, ClaimRecord):
            self.epoch = max(self.epoch, record.offset)
        return True

    patch(Fence, "admits", admits)


def _f2_events(patch: Patch) -> None:
    """Behind a jump in the reports' offsets, the records of others are read."""
    patch(EventLog, "_look_for_a_claim", lambda self, start, end: True)


def _f2_changelog(patch: Patch) -> None:
    """The same in the changelog."""
    patch(TableChangelog, "_read", lambda self, start, end: [])


def _f3(patch: Patch) -> None:
    """In loading, rows of a lower epoch behind a claim are void."""
    patch(loader, "epoch_of", lambda message: 1 << 62)


def _rebuild(patch: Patch) -> None:
    """The groups that void rows name are built anew from the log (H4)."""
    patch(PartitionTables, "stale_groups", lambda self: set())


def _deletions(patch: Patch) -> None:
    """A deletion carries the epoch of who wrote it, too."""
    epoch_of = loader.epoch_of
    patch(loader, "epoch_of", lambda message: 1 << 62 if message.value() is None else epoch_of(message))


def _i9(patch: Patch) -> None:
    """An answer covers the end of the log that the gateway named."""

    async def cover(self: EventLog, end: int) -> bool:
        return True

    patch(EventLog, "cover", cover)


def _replies_wait(patch: Patch) -> None:
    """An answer without an event leaves when all that it was decided from is on disk."""
    patch(EventLog, "when_delivered", lambda self, then: then())


def _skip(patch: Patch) -> None:
    """What an owner before has decided is not decided again."""
    run = Opening.run

    async def forgetful(self: Opening) -> Opened:
        opened = await run(self)
        opened.decided, opened.with_event = NOWHERE, frozenset()
        return opened

    patch(Opening, "run", forgetful)


def _index(patch: Patch) -> None:
    """A command's place is (offset, index)."""
    run = Opening.run

    async def by_offset(self: Opening) -> Opened:
        opened = await run(self)
        opened.decided = CommandPlace(opened.decided.offset, 1 << 30)
        return opened

    patch(Opening, "run", by_offset)


def _caches(patch: Patch) -> None:
    """Every cache is dropped when a partition is revoked."""
    kept: dict[int, PartitionTables] = {}
    tables = ownership.PartitionTables

    def cached(groups: Any, history: Any) -> PartitionTables:
        fresh = tables(groups, history)
        same = kept.setdefault(id(groups._store), fresh)
        same.stores = fresh.stores
        return same

    patch(ownership, "PartitionTables", cached)


def _position_last(patch: Patch) -> None:
    """The position is written when all rows are reported."""
    write_rows = WriteBehind._write_rows
    append = TableChangelog.append
    waiting: dict[TableChangelog, Any] = {}

    async def later(self: WriteBehind, name: str, changes: Any) -> None:
        waiting[self._changelogs[name]] = (self, name, changes)

    async def position_first(self: TableChangelog, changes: Any) -> None:
        await append(self, changes)
        if changes and changes[0][0] == rows.POSITION_KEY:
            await write_rows(*waiting.pop(self))

    patch(WriteBehind, "_write_rows", later)
    patch(TableChangelog, "append", position_first)


def _changelog_first(patch: Patch) -> None:
    """RocksDB is never ahead of the changelog (H1)."""
    flush = WriteBehind.flush

    async def store_first(self: WriteBehind, snapshot: Snapshot, position: rows.Position) -> None:
        where = [(rows.POSITION_KEY, rows.encode_position(position, self._epoch))]
        for name, changes in (("groups", snapshot.groups), ("history", snapshot.history)):
            self._changelogs[name].store([*changes, *where])
        await flush(self, snapshot, position)

    patch(WriteBehind, "flush", store_first)


def _head_last(patch: Patch) -> None:
    """A group's head, or the row that speaks for it, comes after its other rows (H10)."""
    part_rows = group_rows.part_rows

    def head_first(*arguments: Any) -> list[Any]:
        return part_rows(*arguments)[::-1]

    patch(group_rows, "part_rows", head_first)


def _epoch_of_position(patch: Patch) -> None:
    """Who starts in the middle takes the epoch with the offset (H3)."""
    patch(opening, "position", lambda store: _without_epoch(opening_position(store)))


def _without_epoch(position: rows.Position | None) -> rows.Position | None:
    if position is None:
        return None
    return rows.Position(
        event_offset=position.event_offset,
        epoch=-1,
        command_topic_id=position.command_topic_id,
        command_offset=position.command_offset,
        command_index=position.command_index,
    )


opening_position = opening.position


def _watchdog(patch: Patch) -> None:
    """Who was paused for long writes nothing more."""
    patch(Watchdog, "check", lambda self: None)


def _bug(patch: Patch) -> None:
    """`decide` is total: it never raises."""
    decide = partition.decide

    def buggy(group: Any, command: Any, **more: Any) -> Any:
        if getattr(command, "text", None) == "boom":
            raise ZeroDivisionError("boom")
        return decide(group, command, **more)

    patch(partition, "decide", buggy)


def _brought(patch: Patch) -> None:
    """Faust brings what is there: here it stands still behind each rebalance; we look soon."""
    perform_seek = transport.Consumer.perform_seek

    async def stand_still(self: transport.Consumer) -> None:
        await perform_seek(self)
        self.pause_partitions(self.assignment())

    patch(transport.Consumer, "perform_seek", stand_still)
    patch(starvation, "LOOK_S", 0.3)
    patch(starvation, "LEAVE_LOOKS", 1_000)  # of such short ones: a slow machine needs some to bring what was asked for


_RULES: dict[str, Callable[[Patch], None]] = {
    "F1": _f1,
    "F2 events": _f2_events,
    "F2 changelog": _f2_changelog,
    "F3": _f3,
    "void rows are built anew": _rebuild,
    "a deletion has an epoch": _deletions,
    "I9 cover": _i9,
    "replies wait": _replies_wait,
    "skip what is decided": _skip,
    "a place has an index": _index,
    "drop caches": _caches,
    "position last": _position_last,
    "changelog first": _changelog_first,
    "head last": _head_last,
    "a position has an epoch": _epoch_of_position,
    "leave after a pause": _watchdog,
    "no command raises": _bug,
    "commands are brought": _brought,
}
RULES = tuple(_RULES)
