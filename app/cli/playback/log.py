"""A chat log as JSON lines: `{"group","kind","user","minute"?,"text"?,"to"?}`, plain or `.gz`.

`kind` is `message`, `action` or `rename`. Each line becomes one message: an action as IRC shows it, a rename as the
announcement of it by the old name; the new name is a member from the start, like everybody who speaks.
"""

import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from app.domain import rules

_ID_PREFIX = "line-"
_HALF_DAY_MIN = 720
_DAY_MIN = 1440


class LogError(Exception):
    """A file that is no chat log; the message names the line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number in the file, from 1; who says what; when, in seconds after the group's first line."""

    number: int
    by: str
    text: str
    offset_s: float

    @property
    def client_msg_id(self) -> str:
        """The same in every run."""
        return f"{_ID_PREFIX}{self.number}"


def number_of(client_msg_id: str | None) -> int | None:
    """The number of the line that has this id; None if it is no line's."""
    if client_msg_id is None or not client_msg_id.startswith(_ID_PREFIX):
        return None
    digits = client_msg_id[len(_ID_PREFIX) :]
    return int(digits) if digits.isdecimal() and digits.isascii() else None


@dataclass(slots=True)
class Channel:
    """A group's lines in order, and its cast: all who speak or are named by a rename, in order of appearance."""

    group: str
    lines: list[Line] = field(default_factory=list)
    cast: dict[str, None] = field(default_factory=dict)


class _Row(msgspec.Struct):
    group: str
    kind: Literal["message", "action", "rename"]
    user: str
    minute: int | None = None
    text: str | None = None
    to: str | None = None


_decoder = msgspec.json.Decoder(_Row)


def read(path: Path, prefix: str = "") -> list[Channel]:
    """All channels of a log, group ids with `prefix`; the whole file is checked, and kept in memory.

    Raises:
        LogError: a line is not as it must be, or there is none.
        OSError: the file cannot be read.
    """
    channels: dict[str, Channel] = {}
    clocks: dict[str, _Clock] = {}
    rows = _rows(path)
    for key, same in itertools.groupby(rows, key=lambda row: (row[1].group, row[1].minute)):
        group, minute = prefix + key[0], key[1]
        if (why := rules.bad_id(group)) is not None:
            raise LogError(f"{path}: group {group!r}: {why}")
        channel = channels.setdefault(group, Channel(group))
        within = list(same)
        offsets = clocks.setdefault(group, _Clock()).spread(minute, len(within))
        for (number, row), offset_s in zip(within, offsets, strict=True):
            channel.lines.append(Line(number, row.user, _text(row), offset_s))
            channel.cast.update({row.user: None} if row.to is None else {row.user: None, row.to: None})
    if not channels:
        raise LogError(f"{path}: no line")
    return list(channels.values())


class _Clock:
    """A group's time, from minutes of the day that may be absent, step back a little or pass midnight."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._last = 0

    def spread(self, minute: int | None, count: int) -> list[float]:
        """The seconds since the beginning for `count` lines of one minute, evenly over it."""
        if minute is None:
            minute = self._last
        if self._first is None:
            self._first = self._last = minute
        while minute < self._last - _HALF_DAY_MIN:
            minute += _DAY_MIN
        self._last = max(self._last, minute)
        return [60 * (self._last - self._first + i / count) for i in range(count)]


def _rows(path: Path) -> Iterator[tuple[int, _Row]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _row(path, number, line)
    except (gzip.BadGzipFile, EOFError) as bad:
        raise LogError(f"{path}: {bad}") from bad


def _row(path: Path, number: int, line: bytes) -> _Row:
    try:
        row = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
        raise LogError(f"{path}, line {number}: {bad}") from bad
    if row.kind == "rename" and row.to is None:
        raise LogError(f"{path}, line {number}: a rename without `to`")
    for user in (row.user, row.to):
        if user is not None and (why := rules.bad_id(user)) is not None:
            raise LogError(f"{path}, line {number}: user {user!r}: {why}")
    if (why := rules.bad_text(_text(row), 1, rules.TEXT_BYTES)) is not None:
        raise LogError(f"{path}, line {number}: text: {why}")
    return row


def _text(row: _Row) -> str:
    """The message that a line becomes; an empty one becomes a blank, as the service takes no empty text."""
    if row.kind == "action":
        return f"* {row.user} {row.text or ''}"
    if row.kind == "rename":
        return f"* {row.user} is now known as {row.to}"
    return row.text or " "
