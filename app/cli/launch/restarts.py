"""When a process that died may start again."""

import random
from collections import deque

BURST = 5
WINDOW_S = 10.0
LONGEST_S = 30.0


class Restarts:
    """At once, unless it dies again and again: more than `BURST` deaths within `WINDOW_S` bring pauses that double.

    A restart at once keeps a crash at about two seconds (design §4); a loop of them would take the machine away from
    the processes that work.
    """

    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=BURST + 1)
        self._pauses = 0

    def died(self, now: float, lived_s: float) -> float:
        """The pause before the next start, seconds; `now` is the monotonic clock at the death."""
        if lived_s >= WINDOW_S:
            self._deaths.clear()
            self._pauses = 0
        self._deaths.append(now)
        looping = len(self._deaths) > BURST and now - self._deaths[0] <= WINDOW_S
        if not looping and self._pauses == 0:
            return 0
        longest = min(LONGEST_S, 2.0**self._pauses)
        self._pauses += 1
        return longest * random.uniform(0.75, 1)
