"""Which events are messages and which changed the state, without reading the events.

A group of a million reactions and ten messages answers `history` from ten events, and its state at an old seq is
folded from those that changed it. A message sets no mark, so that a post has no row but its own.
"""

from collections import OrderedDict
from collections.abc import Iterator

from tables import history_rows as keys
from tables.history_rows import BLOCK_SEQS, Marks
from tables.unwritten import Unwritten

MARKS_IN_MEMORY = 4_096


class EventMarks:
    """The marks of one partition's events, a row for each block of a group's seqs."""

    def __init__(self, stored: Unwritten) -> None:
        self._stored = stored
        self._recent: OrderedDict[bytes, Marks] = OrderedDict()

    def mark(self, group: str, seq: int, *, changes: bool) -> None:
        """Mark an event as no message, and as one that changes the state if it does."""
        block, place = divmod(seq, BLOCK_SEQS)
        key, bit = keys.marks_key(group, block), 1 << place
        before = self._of(key)
        after = Marks(before.others | bit, before.changes | (bit if changes else 0))
        if after != before:
            self._stored.put(key, keys.encode_marks(after))
            self._remember(key, after)

    def changed_state(self, group: str, seq: int) -> bool:
        """Whether the event is marked as one that changed the state."""
        block, place = divmod(seq, BLOCK_SEQS)
        return bool(self._of(keys.marks_key(group, block)).changes >> place & 1)

    def messages(self, group: str, low: int, high: int, *, backwards: bool = False) -> Iterator[int | None]:
        """Which events from `low` to `high` are messages; None for a block without any: let others run now and then.

        Where events were stored before there were marks it may name others too.
        """
        for block in _blocks(low, high, backwards=backwards):
            bits = _mask(block, low, high) & ~self._of(keys.marks_key(group, block)).others
            if not bits:
                yield None
            yield from _seqs(bits, block, backwards=backwards)

    def changes(self, group: str, low: int, high: int) -> Iterator[int | None]:
        """Which events from `low` to `high` changed the state; None as in `messages`."""
        for block in _blocks(low, high, backwards=False):
            bits = _mask(block, low, high) & self._of(keys.marks_key(group, block)).changes
            if not bits:
                yield None
            yield from _seqs(bits, block, backwards=False)

    def forget(self) -> None:
        """Ask the rows again."""
        self._recent.clear()

    def _of(self, key: bytes) -> Marks:
        marks = self._recent.get(key)
        if marks is None:
            payload = self._stored.get(key)
            marks = Marks() if payload is None else keys.decode_marks(payload)
            self._remember(key, marks)
        return marks

    def _remember(self, key: bytes, marks: Marks) -> None:
        self._recent[key] = marks
        self._recent.move_to_end(key)
        if len(self._recent) > MARKS_IN_MEMORY:
            self._recent.popitem(last=False)


def _blocks(low: int, high: int, *, backwards: bool) -> range:
    first, last = low // BLOCK_SEQS, high // BLOCK_SEQS
    return range(last, first - 1, -1) if backwards else range(first, last + 1)


def _mask(block: int, low: int, high: int) -> int:
    """A bit for each seq of `block` from `low` to `high`."""
    start = block * BLOCK_SEQS
    upper = min(high - start, BLOCK_SEQS - 1) + 1
    lower = max(low - start, 0)
    return (1 << upper) - (1 << lower)


def _seqs(bits: int, block: int, *, backwards: bool) -> Iterator[int]:
    start = block * BLOCK_SEQS
    while bits:
        place = bits.bit_length() - 1 if backwards else (bits & -bits).bit_length() - 1
        yield start + place
        bits ^= 1 << place
