"""What the senders know: when each line was sent, and as which event it was acknowledged."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Never

from auerbach_client import Ack, AuerbachError
from tqdm import tqdm

from app.cli.playback.log import Channel, Line
from app.cli.playback.tally import Tally

Name = tuple[str, str, str]  # group, user, client_msg_id


class Record(Tally):
    """A tally that also keeps each line's instant (monotonic, s) and seq. `faults`: what went wrong meanwhile."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.sent_at: dict[Name, float] = {}
        self.seqs: dict[Name, int | None] = {}
        self.faults: list[str] = []
        self._lines = lines
        self._bar: tqdm[Never] | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The time that the lines take, with a bar on a terminal."""
        self._bar = bar = tqdm(total=self._lines, unit=" lines", disable=None)
        self.begin()
        try:
            yield
        finally:
            self.end()
            bar.close()

    def sending(self, channel: Channel, line: Line) -> None:
        """Keep when; delivery is measured from here."""
        self.sent_at[channel.group, line.by, line.client_msg_id] = time.monotonic()

    def acknowledged(self, channel: Channel, line: Line, ack: Ack, latency_s: float) -> None:
        """Keep as what. `duplicate` is right only where the client repeated; the log says whether it is one event."""
        super().acknowledged(channel, line, ack, latency_s)
        name = (channel.group, line.by, line.client_msg_id)
        if name in self.seqs:
            self.faults.append(f"{name}: acknowledged twice")
        self.seqs[name] = ack.seq
        self._tick()

    def failed(self, channel: Channel, line: Line, error: AuerbachError) -> None:
        """A line without an acknowledgement is a fault."""
        super().failed(channel, line, error)
        self.faults.append(f"{channel.group}, line {line.number}: not acknowledged: {error}")
        self._tick()

    def _tick(self) -> None:
        if self._bar is not None:
            self._bar.update()
