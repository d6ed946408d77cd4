"""Deliveries in the order in which they came, and up to which one all are settled."""

from collections import deque


class Ledger:
    """What was delivered and is not acknowledged yet; delivery tags only grow (AMQP 0-9-1 §1.8.3.13)."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._settled: set[int] = set()
        self._since: deque[float] = deque()

    def __len__(self) -> int:
        """Deliveries that are not acknowledged yet."""
        return len(self._open)

    def add(self, tag: int, now: float) -> None:
        """A delivery came at `now`."""
        self._open.append(tag)
        self._since.append(now)

    def settle(self, tags: list[int]) -> int | None:
        """Of these deliveries all is on disk; the tag up to which every delivery is, if that is further than before."""
        self._settled.update(tags)
        through = None
        while self._open and self._open[0] in self._settled:
            through = self._open.popleft()
            self._since.popleft()
            self._settled.discard(through)
        return through

    def oldest_s(self, now: float) -> float:
        """How long the oldest has been waiting; 0 if none does."""
        return now - self._since[0] if self._since else 0.0
