"""What the senders know: when each line was sent, and as which event it was acknowledged."""

import asyncio
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Never

import msgspec
from auerbach_client import Ack, AuerbachError
from tqdm import tqdm

from app.cli.playback.log import Channel, Line, number_of
from app.cli.playback.tally import Tally

UNKNOWN = -1  # the seq of a line that was not acknowledged


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that took so long, and when it ended: seconds after the first line."""

    took_s: float
    at_s: float
    what: str


class Record(Tally):
    """A tally that also keeps, by line number, each line's instant (monotonic, s) and seq.

    `faults` is what went wrong meanwhile. With `acks`, each acknowledgement becomes a JSON line there.
    """

    def __init__(self, channels: Sequence[Channel], acks: BinaryIO | None = None) -> None:
        super().__init__()
        numbers = [line.number for channel in channels for line in channel.lines]
        most = max(numbers, default=0)
        self.lines = len(numbers)
        self.sent_at = array("d", [0.0]) * (most + 1)
        self.seqs = array("q", [UNKNOWN]) * (most + 1)
        self.faults: list[str] = []
        self.stall = self.slowest = Moment(0.0, 0.0, "none")
        # Set once every line has its outcome.
        self.over = asyncio.Event()
        self._acks = acks
        self._began = self._last = time.monotonic()
        self._bar: tqdm[Never] | None = None

    @property
    def settled(self) -> int:
        """Lines that have their outcome."""
        return self.new + self.duplicates + self.failures

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The time that the lines take, with a bar on a terminal."""
        self._bar = bar = tqdm(total=self.lines, unit=" lines", disable=None)
        self.begin()
        self._began = self._last = time.monotonic()
        try:
            yield
        finally:
            self.end()
            bar.close()

    def sent(self, client_msg_id: str | None) -> float | None:
        """When the line with this id was sent; None if it is no line's."""
        number = number_of(client_msg_id)
        return self.sent_at[number] if number is not None and 0 < number < len(self.sent_at) else None

    def sending(self, channel: Channel, line: Line) -> None:  # noqa: ARG002
        """Keep when; delivery is measured from here."""
        self.sent_at[line.number] = time.monotonic()

    def acknowledged(self, channel: Channel, line: Line, ack: Ack, latency_s: float) -> None:
        """Keep as what. `duplicate` is right only where the client repeated; the log says whether it is one event."""
        super().acknowledged(channel, line, ack, latency_s)
        if self.seqs[line.number] != UNKNOWN:
            self.faults.append(f"{channel.group}, line {line.number}: acknowledged twice")
        self.seqs[line.number] = ack.seq if ack.seq is not None else 0
        if self._acks is not None:
            self._acks.write(_acknowledgement(channel, line, ack))
        self._mark(f"{channel.group}, line {line.number}", latency_s)
        self._tick()

    def failed(self, channel: Channel, line: Line, error: AuerbachError) -> None:
        """A line without an acknowledgement is a fault."""
        super().failed(channel, line, error)
        self.faults.append(f"{channel.group}, line {line.number}: not acknowledged: {error}")
        self._tick()

    def _mark(self, what: str, latency_s: float) -> None:
        now = time.monotonic()
        if now - self._last > self.stall.took_s:
            self.stall = Moment(now - self._last, now - self._began, what)
        if latency_s > self.slowest.took_s:
            self.slowest = Moment(latency_s, now - self._began, what)
        self._last = now

    def _tick(self) -> None:
        if self.settled >= self.lines:
            self.over.set()
        if self._bar is not None:
            self._bar.update()


def _acknowledgement(channel: Channel, line: Line, ack: Ack) -> bytes:
    said = {"group": channel.group, "user": line.by, "client_msg_id": line.client_msg_id, "seq": ack.seq}
    return msgspec.json.encode(said) + b"\n"
