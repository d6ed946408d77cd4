"""Chat logs: what a line becomes, when it is due, and what is no log."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.playback import log
from app.cli.playback.log import LogError

SAMPLE = Path(__file__).parents[3] / "benchmarks" / "data" / "irc-sample.jsonl"


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def row(kind: str = "message", **more: Any) -> dict[str, Any]:
    return {"group": "g", "kind": kind, "user": "ann", **more}


def test_each_kind_of_line_becomes_one_message(tmp_path: Path) -> None:
    file = write(
        tmp_path / "log.jsonl",
        row(text="hi"),
        row("action", text="sips a coffee"),
        "",
        row("rename", to="anna"),
        row(),
    )

    [channel] = log.read(file, prefix="x-")

    assert channel.group == "x-g"
    assert [line.text for line in channel.lines] == ["hi", "* ann sips a coffee", "* ann is now known as anna", " "]
    assert [line.client_msg_id for line in channel.lines] == ["line-1", "line-2", "line-4", "line-5"]
    assert list(channel.cast) == ["ann", "anna"]


def test_lines_of_a_minute_are_spread_over_it_and_time_never_steps_back(tmp_path: Path) -> None:
    minutes = [1438, 1438, None, 1439, 1438, 1, 3]
    file = write(tmp_path / "log.jsonl", *(row(text="x", minute=minute) for minute in minutes))

    [channel] = log.read(file)

    offsets = [line.offset_s for line in channel.lines]
    assert offsets == [0, 30, 0, 60, 60, 180, 300]


def test_a_compressed_log_reads_like_a_plain_one(tmp_path: Path) -> None:
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))

    assert log.read(packed) == log.read(SAMPLE)


def test_the_sample_is_three_whole_days() -> None:
    channels = log.read(SAMPLE)

    assert [channel.group for channel in channels] == ["irc-2015-09-25", "irc-2015-10-14", "irc-2015-10-19"]
    assert [len(channel.lines) for channel in channels] == [1100, 1100, 1100]
    assert [line.number for channel in channels for line in channel.lines] == list(range(1, 3301))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("no json", "line 2: "),
        ("[]", "line 2: "),
        (row("shout", text="x"), "line 2: .*kind"),
        (row("rename"), "line 2: a rename without `to`"),
        (row(user=" ann", text="x"), "line 2: user ' ann'"),
        (row(text="x" * 16_385), "line 2: text: "),
        (row(group="", text="x"), "group ''"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_sent(tmp_path: Path, bad: dict[str, Any] | str, why: str) -> None:
    file = write(tmp_path / "log.jsonl", row(text="good"), bad)

    with pytest.raises(LogError, match=why):
        log.read(file)


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", b""), ("a.gz", b"not gzip"), ("a.gz", gzip.compress(b"x", mtime=0)[:9])]
)
def test_a_file_without_lines_or_not_compressed_is_no_log(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(LogError, match=name):
        log.read(file)
