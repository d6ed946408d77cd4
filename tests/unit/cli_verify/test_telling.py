"""The report in words and as JSON."""

import msgspec

from app.cli.verifying.findings import FINDINGS_KEPT, Report
from app.cli.verifying.telling import Verdict


def test_a_finding_is_one_line_with_its_place_and_the_summary_counts_all() -> None:
    report = Report(3, first=7)
    report.find("gap", "the group was at seq 2: 1 missing", offset=9, group="a\nb", seq=4)
    for _ in range(FINDINGS_KEPT + 1):
        report.find("groups", "x", group="g")
    report.voided[8] = 2
    report.unproven["groups of a kind"] = 4

    lines = list(Verdict("log", [report], cut=["acks.jsonl"]).lines())

    assert lines[0] == "gap: partition 3, offset 9, group 'a\\nb', seq 4: the group was at seq 2: 1 missing"
    assert lines.count("groups: partition 3, group 'g': x") == FINDINGS_KEPT
    assert "groups: partition 3: 1 more" in lines
    assert "begins    partition 3 at offset 7: what was before is not kept" in lines
    assert "          partition 3: 2 by the claim at offset 8" in lines
    assert "unproven  4 groups of a kind" in lines
    assert any(line.startswith("cut       acks.jsonl") for line in lines)
    assert lines[-1] == f"FOUND     1 gap, {FINDINGS_KEPT + 1} groups"


def test_a_clean_report_says_so_in_words_and_to_programs() -> None:
    verdict = Verdict("log", [Report(0, records=5, events=4), Report(1, records=2, events=1)])

    assert list(verdict.lines())[-1] == "clean"
    said = msgspec.json.decode(verdict.as_json())
    assert (said["clean"], said["records"], said["events"], said["findings"]) == (True, 7, 5, [])
