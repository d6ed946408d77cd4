"""The order of one socket's requests, group by group (protocol §2)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Done = Callable[[], None]
Start = Callable[[Done], None]


@dataclass(slots=True)
class _Lane:
    running: int = 0
    exclusive: bool = False  # whether what runs bears nothing beside it
    starting: bool = False  # what ends while it is started leaves the next one to who started it: nothing nests
    waiting: deque[tuple[bool, Start]] = field(default_factory=deque)


class Lanes:
    """Starts requests so that those of one group take effect in the order given.

    Commands may overlap with each other, because one producer keeps their order. A read waits for the outcomes of
    the commands before it (a command that is not in the log yet is not covered by the end offset that the read is
    answered at), and what comes after a read waits for its reply.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._closed = False

    def close(self) -> None:
        """Start nothing more."""
        self._closed = True
        self._lanes.clear()

    def enter(self, group: str, start: Start, *, exclusive: bool) -> None:
        """Call `start` when its turn comes, maybe at once; it calls the function it is given when it has ended."""
        lane = self._lanes.setdefault(group, _Lane())
        lane.waiting.append((exclusive, start))
        self._pump(group, lane)

    def _pump(self, group: str, lane: _Lane) -> None:
        if lane.starting:
            return
        lane.starting = True
        try:
            while lane.waiting and not self._closed:
                exclusive, start = lane.waiting[0]
                if lane.running and (exclusive or lane.exclusive):
                    break
                lane.waiting.popleft()
                lane.running += 1
                lane.exclusive = exclusive
                start(lambda: self._leave(group, lane))
        finally:
            lane.starting = False
        if not lane.running and not lane.waiting and self._lanes.get(group) is lane:
            del self._lanes[group]

    def _leave(self, group: str, lane: _Lane) -> None:
        lane.running -= 1
        self._pump(group, lane)
