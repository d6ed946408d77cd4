"""What `verify` says of one partition's records: of a sound log nothing, of each fault its name and its place."""

from dataclasses import replace

import msgspec
import pytest

from app.cli.verifying.findings import FINDINGS_KEPT, Finding, Report
from app.cli.verifying.log_check import AckKey, LogCheck
from app.domain.commands import CreateGroup, DeleteGroup
from app.domain.events import decode_event
from app.domain.idempotency import WINDOW_MS
from app.log.records import CommandPlace
from tests.support.written_log import LOG, Raw, WrittenLog

G = "g"


@pytest.fixture
def log() -> WrittenLog:
    """A claim, a group, two messages."""
    written = WrittenLog()
    written.claim()
    written.create(G)
    written.post(G, "one")
    written.post(G, "two")
    return written


def report_of(
    records: list[Raw], *, first: int = 0, epoch: int = -1, acks: set[AckKey] | None = None, partitions: int = 1
) -> Report:
    report = Report(0, first=first, end=len(records))
    check = LogCheck(report, partitions=partitions, log_id=LOG, epoch=epoch, acks=acks)
    for record in records:
        if record.offset >= first:
            check.take(record.offset, record.key, record.value, record.headers)
    check.finish()
    return report


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, [str(f) for f in report.findings]
    assert report.counts.total() == 1
    return report.findings[0]


def place(finding: Finding) -> tuple[str, int, str | None, int]:
    return finding.kind, finding.offset, finding.group, finding.seq


def test_a_sound_log_has_no_findings(log: WrittenLog) -> None:
    log.join(G, "paul")
    log.claim()
    log.post(G, "three", by="paul")

    report = report_of(log.records)

    assert not report.findings
    assert (report.records, report.events, report.claims, report.groups) == (7, 5, 2, 1)
    assert not report.voided


def test_a_seq_that_is_missing_is_a_gap_said_once(log: WrittenLog) -> None:
    lost = log.post(G, "lost")
    after = log.post(G, "after")
    log.post(G, "later")
    del log.records[lost.offset]

    assert place(only(report_of(log.records))) == ("gap", after.offset, G, 5)


def test_a_seq_that_was_there_is_doubled(log: WrittenLog) -> None:
    event = decode_event(log.records[-1].value or b"")
    again = log.write(
        msgspec.structs.replace(event, id="the-commands.0.77.0", client_msg_id="other"), CommandPlace(77, 0)
    )

    assert place(only(report_of(log.records))) == ("doubled", again.offset, G, 3)


def test_a_command_that_was_decided_twice_is_told_with_its_place(log: WrittenLog) -> None:
    event = decode_event(log.records[-1].value or b"")
    again = log.write(msgspec.structs.replace(event, seq=4, client_msg_id="other"), CommandPlace(2, 0))

    assert place(only(report_of(log.records))) == ("decided-twice", again.offset, G, 4)


def test_a_request_that_was_accepted_twice_within_its_window_is_told_and_after_it_is_not(log: WrittenLog) -> None:
    log.groups[G].sent.clear()  # an owner that has lost its rows
    again = log.post(G, "again", key="one")
    assert place(only(report_of(log.records))) == ("accepted-twice", again.offset, G, 4)

    log.records.pop()
    log.groups[G].seq = 3
    log.now_ms += WINDOW_MS + 1
    log.post(G, "again", key="one")
    assert "accepted-twice" not in report_of(log.records).counts


def test_a_creation_that_is_repeated_after_its_group_was_deleted_is_no_fault(log: WrittenLog) -> None:
    creation = CreateGroup(id="c", group="h", by="olga", name="n", client_msg_id="k")
    log.decide(creation)
    log.decide(DeleteGroup(id="d", group="h", by="olga"))
    log.decide(creation)

    assert not report_of(log.records).findings


def test_an_instant_before_that_of_the_groups_last_event_is_told(log: WrittenLog) -> None:
    log.groups[G].at_ms = 0
    log.now_ms -= 1
    back = log.post(G, "back")

    assert place(only(report_of(log.records))) == ("back", back.offset, G, 4)


@pytest.mark.parametrize("value", [b"not json", b"{}", b'{"type":"event"}', b"\xff", None])
def test_bytes_that_do_not_decode_are_told(log: WrittenLog, value: bytes | None) -> None:
    bad = log.post(G, "bad")
    log.alter(bad, replace(bad, value=value))

    assert only(report_of(log.records)).kind == "undecodable"


def test_a_kind_that_is_not_known_and_a_time_that_is_none_are_undecodable(log: WrittenLog) -> None:
    bad = log.post(G, "bad")
    for spelt, wrong in ((b"message.posted", b"message.sung"), (b"2026-11-25T", b"yesterday, ")):
        log.alter(bad, replace(bad, value=(bad.value or b"").replace(spelt, wrong)))
        assert place(only(report_of(log.records))) == ("undecodable", bad.offset, G, 4)


def test_a_record_without_a_header_is_undecodable(log: WrittenLog) -> None:
    bad = log.post(G, "bad")
    log.alter(bad, replace(bad, headers=[h for h in bad.headers if h[0] != "seq"]))

    assert only(report_of(log.records)).kind == "undecodable"


@pytest.mark.parametrize(
    ("header", "told"), [("seq", b"7"), ("kind", b"message.edited"), ("ce_id", b"the-commands.0.9.9")]
)
def test_a_header_that_says_otherwise_than_the_value_contradicts_it(log: WrittenLog, header: str, told: bytes) -> None:
    bad = log.post(G, "bad")
    log.alter(bad, bad.but(**{header: told}))

    assert only(report_of(log.records)).kind == "contradiction"


def test_a_key_that_names_another_group_than_the_value_contradicts_it(log: WrittenLog) -> None:
    bad = log.post(G, "bad")
    log.alter(bad, replace(bad, key=b"other"))

    assert only(report_of(log.records)).kind == "contradiction"


def test_an_id_that_does_not_name_its_commands_place_contradicts_it(log: WrittenLog) -> None:
    bad = log.post(G, "bad")
    log.alter(bad, bad.but(command_offset=b"99"))

    assert place(only(report_of(log.records))) == ("contradiction", bad.offset, G, 4)


def test_a_record_in_another_partition_than_its_keys_is_misplaced() -> None:
    log = WrittenLog()  # partition 0, whatever the key
    log.claim()
    here, there = log.create("a-0"), log.create("b-1")

    report = report_of(log.records, partitions=16)

    assert {f.kind for f in report.findings} == {"misplaced"}
    assert {f.offset for f in report.findings} == {here.offset, there.offset}


def test_a_claim_for_another_log_is_told(log: WrittenLog) -> None:
    offset = log.claim("another-log")

    finding = only(report_of(log.records))
    assert (finding.kind, finding.offset) == ("foreign-claim", offset)
    assert "another-log" in finding.what


def test_a_claim_that_has_a_key_is_told(log: WrittenLog) -> None:
    claim = log.records[log.claim()]
    log.alter(claim, replace(claim, key=b"g"))

    assert place(only(report_of(log.records))) == ("contradiction", claim.offset, None, -1)


def test_the_fold_keeps_nothing_of_an_event_but_the_state(log: WrittenLog) -> None:
    check = LogCheck(Report(0), partitions=1, log_id=LOG)
    for record in log.records:
        check.take(record.offset, record.key, record.value, record.headers)

    assert check.groups == log.groups  # with nothing marked as changed, which would grow with the log


def test_an_epoch_that_no_claim_made_is_said_once(log: WrittenLog) -> None:
    log.epoch = 99
    first = log.post(G, "three")
    log.post(G, "four")

    assert place(only(report_of(log.records))) == ("no-claim", first.offset, G, 4)


def test_void_records_are_no_fault_and_are_counted_by_the_claim_that_voids_them(log: WrittenLog) -> None:
    late = log.records[-1]
    claims = [log.claim(), log.claim()]
    log.again(late)
    log.again(late, seq=b"9")
    log.append(late.key, b"never read", late.headers)
    log.post(G, "three")

    report = report_of(log.records)

    assert not report.findings
    assert report.voided == {claims[1]: 3}
    assert report.groups == 1


def test_what_was_acknowledged_must_be_there_at_that_seq_by_that_user_with_that_key(log: WrittenLog) -> None:
    log.join(G, "paul")
    log.post(G, "his", by="paul")
    assert not report_of(log.records, acks={(G, 2, "olga", "one"), (G, 5, "paul", "his")}).findings

    for wrong in ((G, 6, "olga", "three"), (G, 3, "olga", "one"), (G, 2, "paul", "one"), ("h", 2, "olga", "one")):
        finding = only(report_of(log.records, acks={(G, 3, "olga", "two"), wrong}))
        assert (finding.kind, finding.group, finding.seq) == ("ack", wrong[0], wrong[1])


def test_an_acknowledged_event_that_is_void_is_not_in_the_log(log: WrittenLog) -> None:
    old = log.epoch
    log.claim()
    log.epoch = old
    log.post(G, "void")

    assert only(report_of(log.records, acks={(G, 4, "olga", "void")})).kind == "ack"


def test_a_log_whose_beginning_is_not_kept_is_checked_from_there_on(log: WrittenLog) -> None:
    log.post(G, "three")
    first = log.post(G, "four").offset
    log.post(G, "five")
    late = log.create("late")

    sound = report_of(log.records, first=first, epoch=0, acks={(G, 2, "olga", "one"), (G, 6, "olga", "five")})
    del log.records[late.offset - 1]
    log.post(G, "six")
    gap = report_of(log.records, first=first, epoch=0)

    assert not sound.findings
    assert list(sound.unproven.values()) == [1, 1]  # the group, and the acknowledgement from before
    assert only(gap).kind == "gap"


def test_a_life_that_begins_in_what_is_kept_is_whole_again(log: WrittenLog) -> None:
    first = log.post(G, "three").offset
    log.decide(DeleteGroup(id="d", group=G, by="olga"))
    log.decide(CreateGroup(id="c", group=G, by="olga", name="again"))

    assert not report_of(log.records, first=first, epoch=0).unproven


def test_a_fault_without_end_is_counted_and_its_first_are_kept(log: WrittenLog) -> None:
    event = decode_event(log.records[-1].value or b"")
    for number in range(FINDINGS_KEPT + 5):
        log.write(msgspec.structs.replace(event, id=f"the-commands.0.{50 + number}.0"), CommandPlace(50 + number, 0))

    report = report_of(log.records)

    assert len(report.findings) == FINDINGS_KEPT
    assert report.counts == {"doubled": FINDINGS_KEPT + 5}
