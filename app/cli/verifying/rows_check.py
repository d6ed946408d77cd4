"""Rows of a partition's tables against what they must be. Content is never told: findings are for logs and tickets."""

from collections.abc import Collection, Iterator, Mapping

from app.cli.verifying.findings import Report
from app.domain.state import Group
from tables import history_rows, rows
from tables.partition_tables import PartitionTables
from tables.store import OFFSET_KEY, Store

GROUP_FIELDS = (
    "seq",
    "first",
    "life",
    "name",
    "topic",
    "join",
    "at_ms",
    "pruned",
    "rules",
    "members",
    "banned",
    "past",
    "sent",
)
_KINDS = {b"e": "event", b"d": "detail", b"u": "reactor", b"k": "marks"}

Row = tuple[bytes, bytes]


def compare_groups(
    report: Report, stored: PartitionTables, states: Mapping[str, Group], skipped: Collection[str], *, whole: bool
) -> None:
    """Hold each group as its rows tell it against the fold. `whole`: the log holds every group from its beginning."""
    for group, state in states.items():
        if group in skipped:
            continue
        report.tables_compared += 1
        if differing := differences(stored.group(group), state):
            report.find("groups", differing, group=group, seq=state.seq)
    if whole:
        strange = _groups_of(stored.stores["groups"]) - states.keys() - set(skipped)
        for group in sorted(strange):
            report.find("groups", "it has rows, and the log has no event of it", group=group)


def differences(stored: Group, folded: Group) -> str:
    """Which fields of a group differ, "" for none; the order in which keys were taken in does not count."""
    names = [name for name in GROUP_FIELDS if getattr(stored, name) != getattr(folded, name)]
    if "members" not in names and list(stored.members) != list(folded.members):
        names.append("order of members")
    if not names:
        return ""
    return f"{', '.join(names)}: the rows (at seq {stored.seq}) are not the fold of the log (at seq {folded.seq})"


def compare_history(report: Report, stored: Store, folded: Store, skipped: Collection[str], *, whole: bool) -> None:
    """Hold all rows of the history against those that the log makes."""
    due = _rows(folded)
    wanted = next(due, None)
    for key, payload in _rows(stored):
        while wanted is not None and wanted[0] < key:
            _tell(report, wanted[0], "is missing", skipped)
            wanted = next(due, None)
        if wanted is not None and wanted[0] == key:
            if not whole and _is_marks(key):
                pass  # of a block that began before the log that is kept
            elif wanted[1] != payload:
                _tell(report, key, "is not what the log makes", skipped)
            else:
                report.history_rows_compared += 1
            wanted = next(due, None)
        elif whole:
            _tell(report, key, "has nothing in the log", skipped)
    while wanted is not None:
        _tell(report, wanted[0], "is missing", skipped)
        wanted = next(due, None)


def _tell(report: Report, key: bytes, what: str, skipped: Collection[str]) -> None:
    group = rows.group_of(key) or ""
    if group in skipped:
        return
    rest = key[len(rows.group_prefix(group)) :]
    number = int.from_bytes(rest[1:9], "big")
    if rest[:1] == b"k":
        number *= history_rows.BLOCK_SEQS
    kind = _KINDS.get(rest[:1], "unknown")
    report.find("history", f"its {kind} row {what}", group=group, seq=number)


def _is_marks(key: bytes) -> bool:
    group = rows.group_of(key) or ""
    return key.startswith(history_rows.marks_prefix(group))


def _rows(store: Store) -> Iterator[Row]:
    """The rows of groups, in the order of keys, with their payloads."""
    for key, row in store.scan(b""):
        if key != OFFSET_KEY and rows.group_of(key) is not None:
            yield key, rows.payload_of(row)


def _groups_of(store: Store) -> set[str]:
    return {group for key, _ in _rows(store) if (group := rows.group_of(key)) is not None}
