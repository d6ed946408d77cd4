"""What became of the lines: counts, rate and latencies."""

import math
import time
from array import array
from collections.abc import Sequence
from typing import Protocol

from auerbach_client import Ack, AuerbachError

from app.cli.playback.log import Channel, Line

# Of the lines that failed, so many are kept to be shown.
_SHOWN = 10


class Observer(Protocol):
    """Who is told what happens to each line."""

    def sending(self, channel: Channel, line: Line) -> None:
        """The line is about to be sent."""

    def acknowledged(self, channel: Channel, line: Line, ack: Ack, latency_s: float) -> None:
        """The line is in the log."""

    def failed(self, channel: Channel, line: Line, error: AuerbachError) -> None:
        """The line was refused, or its outcome is unknown."""


class Tally:
    """Counts of one playback. `latencies_s` are from the call of send to its acknowledgement."""

    def __init__(self) -> None:
        self.new = 0
        self.duplicates = 0
        self.failures = 0
        self.latencies_s = array("d")
        self.first_failures: list[str] = []
        self._since = time.monotonic()
        self.took_s = 0.0

    def begin(self) -> None:
        """The first line is about to go."""
        self._since = time.monotonic()

    def end(self) -> None:
        """The last line has its outcome."""
        self.took_s = time.monotonic() - self._since

    def sending(self, channel: Channel, line: Line) -> None:
        """Nothing is counted yet."""

    def acknowledged(self, channel: Channel, line: Line, ack: Ack, latency_s: float) -> None:  # noqa: ARG002
        """Count one."""
        if ack.duplicate:
            self.duplicates += 1
        else:
            self.new += 1
        self.latencies_s.append(latency_s)

    def failed(self, channel: Channel, line: Line, error: AuerbachError) -> None:
        """Count one, and keep why."""
        self.failures += 1
        if len(self.first_failures) < _SHOWN:
            self.first_failures.append(f"line {line.number} ({line.by} in {channel.group}): {error}")

    @property
    def per_second(self) -> float:
        """Acknowledged messages per second."""
        return (self.new + self.duplicates) / self.took_s if self.took_s > 0 else 0.0

    def summary(self) -> list[str]:
        """The figures, a line each."""
        again = f", {self.duplicates:,} of them earlier" if self.duplicates else ""
        return [
            f"acknowledged  {self.new + self.duplicates:,} lines{again}; {self.failures:,} not",
            f"rate          {self.per_second:,.0f} messages/s over {self.took_s:.2f} s",
            f"ack           {percentiles(self.latencies_s)}",
        ]


def percentiles(seconds: Sequence[float]) -> str:
    """`p50 … p99 … max …` in milliseconds, by nearest rank."""
    if not seconds:
        return "none"
    p50, p99, most = (1000 * value for value in ranks(seconds, (0.50, 0.99, 1)))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms"


def ranks(values: Sequence[float], shares: Sequence[float]) -> list[float]:
    """For each share, the least value that so many of `values` do not exceed (nearest rank); there must be some."""
    ordered = sorted(values)
    return [ordered[max(0, math.ceil(len(ordered) * share) - 1)] for share in shares]
