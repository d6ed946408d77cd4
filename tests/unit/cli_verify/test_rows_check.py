"""Rows against what the log makes: each difference by its row, and what may differ is let be."""

from app.cli.verifying import rows_check
from app.cli.verifying.findings import Report
from app.domain.commands import AddMember
from app.domain.state import Group, Member
from tables import history_rows, rows
from tables.partition_tables import PartitionTables
from tables.store import Change
from tests.support.memory_store import MemoryStore
from tests.support.written_log import WrittenLog


def store(*changes: Change) -> MemoryStore:
    made = MemoryStore()
    made.write([(key, None if payload is None else rows.value(5, payload)) for key, payload in changes], 0)
    return made


def told(stored: MemoryStore, folded: MemoryStore, *, skipped: set[str] | None = None, whole: bool = True) -> list[str]:
    report = Report(0)
    rows_check.compare_history(report, stored, folded, skipped or set(), whole=whole)
    return [f"{f.group} {f.seq} {f.what}" for f in report.findings]


def test_rows_that_are_missing_too_many_or_other_are_told_in_the_order_of_keys() -> None:
    a, b, c, d = (rows.event_key("g", seq) for seq in (1, 2, 3, 4))
    stored = store((a, b"x"), (b, b"x"), (c, b"other"), (rows.POSITION_KEY, b"{}"))
    folded = store((b, b"x"), (c, b"x"), (d, b"x"), (rows.event_key("h", 1), b"x"))

    assert told(stored, folded) == [
        "g 1 its event row has nothing in the log",
        "g 3 its event row is not what the log makes",
        "g 4 its event row is missing",
        "h 1 its event row is missing",
    ]
    assert told(stored, folded, skipped={"g"}) == ["h 1 its event row is missing"]


def test_rows_of_before_the_log_that_is_kept_and_marks_that_reach_back_there_are_let_be() -> None:
    marks = history_rows.marks_key("g", 0)
    stored = store((rows.event_key("g", 1), b"x"), (marks, b"more"))
    folded = store((marks, b"less"), (rows.event_key("g", 2), b"x"))

    assert told(stored, folded, whole=False) == ["g 2 its event row is missing"]


def test_a_group_differs_in_the_order_of_its_members_too() -> None:
    one, other = Group("g"), Group("g")
    one.members = {"a": Member("owner", 1), "b": Member("member", 1, 1)}
    other.members = dict(reversed(one.members.items()))

    assert not rows_check.differences(one, one)
    assert "order of members" in rows_check.differences(one, other)


def test_a_group_without_an_event_is_told_where_the_log_is_whole() -> None:
    log = WrittenLog()
    log.claim()
    log.create("g")
    log.decide(AddMember(id="a", group="g", by="olga", user="paul"))
    stored = PartitionTables(store((rows.head_key("ghost"), b"[]")), MemoryStore())

    for whole, expected in ((True, ["ghost", "g"]), (False, ["g"])):
        report = Report(0)
        rows_check.compare_groups(report, stored, log.groups, set(), whole=whole)
        assert sorted(f.group or "" for f in report.findings) == sorted(expected)
