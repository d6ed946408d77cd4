"""The demo's own checks: a run as it must be passes, and each kind of fault is found."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from auerbach_client import Ack, ChatError

from app.cli.playback.log import Channel, Line
from benchmarks.checking import deviations
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
    kept = Record(len(CHANNEL.lines))
    for seq, line in enumerate(CHANNEL.lines, 2):
        kept.acknowledged(CHANNEL, line, Ack("g", seq, None, False), 0.01)
    return kept


def with_text(frames: Frames, text: str) -> Frames:
    event = json.loads(frames[3])
    return [*frames[:3], json.dumps({**event, "data": {"text": text}}).encode(), *frames[4:]]


def test_a_run_as_it_must_be_has_no_deviation() -> None:
    assert list(deviations([CHANNEL], record(), {"ann": {"g": log()}, "ben": {"g": log()}})) == []


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda f: f[:-1], "7 messages for 8 lines"),
        (lambda f: [*f[:4], *f[5:]], "seqs are not 1, 2, 3"),
        (lambda f: [*f, f[-1]], "seqs are not 1, 2, 3"),
        (lambda f: [*f, f[3].replace(b'"seq": 4', b'"seq": 10')], "line 3 is there 2 times"),
        (lambda f: [f[0], f[2], f[1], *f[3:]], "seqs are not 1, 2, 3"),
        (lambda f: with_text(f, "another"), "line 3 has another content"),
    ],
)
def test_a_fault_in_every_readers_log_is_found(spoil: Callable[[Frames], Frames], found: str) -> None:
    spoilt = spoil(log())

    faults = list(deviations([CHANNEL], record(), {"ann": {"g": spoilt}, "ben": {"g": list(spoilt)}}))

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
    faults = list(deviations([CHANNEL], record(), {"ann": {"g": log()}, "ben": {"g": spoil(log())}}))

    assert any(found in fault for fault in faults), faults


def test_an_acknowledgement_as_another_event_is_found() -> None:
    kept = record()
    kept.seqs["g", "u1", "line-4"] = 99

    [fault] = deviations([CHANNEL], kept, {"ann": {"g": log()}})

    assert "line 4 is event 5, acknowledged as another" in fault


def test_a_line_acknowledged_twice_or_not_at_all_is_a_fault() -> None:
    kept = record()
    kept.acknowledged(CHANNEL, CHANNEL.lines[0], Ack("g", 2, None, True), 0.01)
    kept.failed(CHANNEL, CHANNEL.lines[1], ChatError("timeout", "late"))

    assert len(kept.faults) == 2


def test_nothing_played_is_no_proof() -> None:
    assert list(deviations([], Record(0), {"ann": {}})) == ["nothing was played"]
