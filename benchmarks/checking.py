"""What must hold after a run: each line once in the log, as it was acknowledged, and the same bytes for everybody.

Events are taken one by one and their bytes are not kept, so that a log of any length is held against its readers.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from app.cli.playback.log import Channel, number_of
from benchmarks.record import Record

_SUM_BYTES = 8


class _Posted(msgspec.Struct):
    seq: int
    kind: str
    by: str | None
    client_msg_id: str | None = None
    data: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Posted)


class Trace:
    """What one reader has seen of one group: a digest of each event's bytes, their count and their size."""

    def __init__(self) -> None:
        self.sums = array("Q")
        self.size_bytes = 0
        self._all = hashlib.sha256()

    def add(self, frame: bytes) -> None:
        """Take in the next event."""
        if self.sums:
            self._all.update(b"\n")
        self._all.update(frame)
        self.sums.append(int.from_bytes(hashlib.blake2b(frame, digest_size=_SUM_BYTES).digest(), "big"))
        self.size_bytes += len(frame)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def name(self) -> str:
        """A short name for exactly these bytes in this order."""
        return self._all.hexdigest()[:16]


class Audit:
    """Holds the events of one channel's group, taken in their order, against the lines that were played."""

    def __init__(self, channel: Channel, record: Record) -> None:
        self._channel = channel
        self._record = record
        self._lines = {line.number: line for line in channel.lines}
        self._events = 0
        self._posted = 0
        self._dense = True
        self._counts: Counter[int] = Counter()
        self._found: list[str] = []

    def take(self, frame: bytes) -> None:
        """The next event."""
        event = _decoder.decode(frame)
        self._events += 1
        self._dense = self._dense and event.seq == self._events
        if event.kind != "message.posted":
            return
        self._posted += 1
        number = number_of(event.client_msg_id)
        line = self._lines.get(number) if number is not None else None
        if line is None or line.by != event.by:
            return  # counted, and its line is missed
        self._counts[line.number] += 1
        if event.data != {"text": line.text}:
            self._found.append(f"line {line.number} has another content: {event.data}")
        if self._record.seqs[line.number] != event.seq:
            self._found.append(f"line {line.number} is event {event.seq}, acknowledged as another")

    def faults(self) -> Iterator[str]:
        """Each fault as a line of text, once all events were taken."""
        for fault in self._all_faults():
            yield f"{self._channel.group}: {fault}"

    def _all_faults(self) -> Iterator[str]:
        if not self._dense:
            yield f"the seqs are not 1, 2, 3, … {self._events}"
        if self._posted != len(self._lines):
            yield f"{self._posted} messages for {len(self._lines)} lines"
        for number in self._lines:
            if self._counts[number] != 1:
                yield f"line {number} is there {self._counts[number]} times"
        yield from self._found


def audits(channels: Sequence[Channel], record: Record) -> dict[str, Audit]:
    """An audit for each group."""
    return {channel.group: Audit(channel, record) for channel in channels}


def deviations(audited: Mapping[str, Audit], held: Mapping[str, Mapping[str, Trace]]) -> Iterator[str]:
    """Each fault as a line of text; nothing if all is as it must be. `held` has traces by reader and group."""
    if not audited:
        yield "nothing was played"
    for group, audit in audited.items():
        yield from audit.faults()
        yield from _unequal(group, {user: groups[group] for user, groups in held.items()}.items())


def _unequal(group: str, traces: Iterable[tuple[str, Trace]]) -> Iterator[str]:
    (first, reference), *others = traces
    for user, trace in others:
        if (trace.name, len(trace)) == (reference.name, len(reference)):
            continue
        pairs = enumerate(zip(trace.sums, reference.sums, strict=False), 1)
        at = next((seq for seq, (a, b) in pairs if a != b), None)
        where = f"event {at} differs" if at is not None else f"{len(trace)} events against {len(reference)}"
        yield f"{group}: the logs of {first} and {user} are not equal: {where}"
