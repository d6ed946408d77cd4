"""The checks of demo and replay: a run as it must be passes, and each kind of fault is found."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from auerbach_client import Ack, ChatError

from app.cli.playback.log import Channel, Line, number_of
from benchmarks.checking import Trace, audits, deviations
from benchmarks.record import Record

CHANNEL = Channel("g", [Line(i, f"u{i % 3}", f"text {i}", 0.0) for i in range(1, 9)])

Frames = list[bytes]


def frame(seq: int, kind: str, by: str, client_msg_id: str | None, data: dict[str, Any]) -> bytes:
    event = {"seq": seq, "kind": kind, "by": by, "client_msg_id": client_msg_id, "data": data}
    return json.dumps({"type": "event", "group": "g", **event}).encode()


def log() -> Frames:
    posted = [
        frame(i, "message.posted", line.by, line.client_msg_id, {"text": line.text})
        for i, line in enumerate(CHANNEL.lines, 2)
    ]
    return [frame(1, "group.created", "replay", "create", {}), *posted]


def record() -> Record:
    kept = Record([CHANNEL])
    for seq, line in enumerate(CHANNEL.lines, 2):
        kept.acknowledged(CHANNEL, line, Ack("g", seq, None, False), 0.01)
    return kept


def found_in(frames: Frames, kept: Record, **readers: Frames) -> list[str]:
    """What is found where the log has `frames`, and each reader has seen what it has."""
    audited = audits([CHANNEL], kept)
    held = {}
    for user, seen in {"log": frames, **readers}.items():
        trace = Trace()
        for each in seen:
            trace.add(each)
        held[user] = {"g": trace}
    for each in frames:
        audited["g"].take(each)
    return list(deviations(audited, held))


def with_text(frames: Frames, text: str) -> Frames:
    event = json.loads(frames[3])
    return [*frames[:3], json.dumps({**event, "data": {"text": text}}).encode(), *frames[4:]]


def test_a_run_as_it_must_be_has_no_deviation() -> None:
    assert found_in(log(), record(), ann=log(), ben=log()) == []


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda f: f[:-1], "7 messages for 8 lines"),
        (lambda f: [*f[:4], *f[5:]], "seqs are not 1, 2, 3"),
        (lambda f: [*f, f[-1]], "seqs are not 1, 2, 3"),
        (lambda f: [*f, f[3].replace(b'"seq": 4', b'"seq": 10')], "line 3 is there 2 times"),
        (lambda f: [f[0], f[2], f[1], *f[3:]], "seqs are not 1, 2, 3"),
        (lambda f: with_text(f, "another"), "line 3 has another content"),
        (lambda f: [*f[:3], f[3].replace(b"u0", b"u9"), *f[4:]], "line 3 is there 0 times"),
    ],
)
def test_a_fault_in_every_readers_log_is_found(spoil: Callable[[Frames], Frames], found: str) -> None:
    spoilt = spoil(log())

    faults = found_in(spoilt, record(), ann=list(spoilt))

    assert any(found in fault for fault in faults), faults
    assert not any("not equal" in fault for fault in faults)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda f: [*f[:2], f[2].replace(b": ", b":"), *f[3:]], "not equal: event 3 differs"),
        (lambda f: f[:-1], "not equal: 8 events against 9"),
    ],
)
def test_logs_that_differ_in_a_byte_are_not_equal(spoil: Callable[[Frames], Frames], found: str) -> None:
    faults = found_in(log(), record(), ann=log(), ben=spoil(log()))

    assert any(found in fault for fault in faults), faults


def test_an_acknowledgement_as_another_event_is_found() -> None:
    kept = record()
    kept.seqs[4] = 99

    [fault] = found_in(log(), kept)

    assert "line 4 is event 5, acknowledged as another" in fault


def test_a_line_acknowledged_twice_or_not_at_all_is_a_fault() -> None:
    kept = record()
    kept.acknowledged(CHANNEL, CHANNEL.lines[0], Ack("g", 2, None, True), 0.01)
    kept.failed(CHANNEL, CHANNEL.lines[1], ChatError("timeout", "late"))

    assert len(kept.faults) == 2


def test_nothing_played_is_no_proof() -> None:
    assert list(deviations(audits([], Record([])), {"ann": {}})) == ["nothing was played"]


def test_each_acknowledgement_is_a_line_and_the_last_outcome_ends_the_run() -> None:
    acks = io.BytesIO()
    kept = Record([CHANNEL], acks)

    for seq, line in enumerate(CHANNEL.lines[:-1], 2):
        kept.acknowledged(CHANNEL, line, Ack("g", seq, None, False), 0.01)
    before = kept.over.is_set()
    kept.failed(CHANNEL, CHANNEL.lines[-1], ChatError("timeout", "late"))

    lines = [json.loads(line) for line in acks.getvalue().splitlines()]
    assert lines[0] == {"group": "g", "user": "u1", "client_msg_id": "line-1", "seq": 2}
    assert [line["seq"] for line in lines] == list(range(2, 9))
    assert (before, kept.over.is_set()) == (False, True)


def test_only_ids_of_lines_are_line_numbers() -> None:
    ids = [CHANNEL.lines[6].client_msg_id, "create", "line-", "line-x", "line-²", "line-٣", None]
    assert [number_of(each) for each in ids] == [7, None, None, None, None, None, None]
    assert Record([CHANNEL]).sent("line-999") is None
