"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# The most that one look and the pause behind it count: a machine that stood still for longer did not wait meanwhile.
STALL_S = 1.0


def eventually(look: Callable[[], T], *, within_s: float, what: str) -> T:
    """The first true answer of `look`; fails naming `what` when there is none in time. Blocks its thread."""
    waited_s = 0.0
    while True:
        began = time.monotonic()
        seen = look()
        if seen:
            return seen
        assert waited_s < within_s, f"not within {within_s} s: {what} (last seen: {seen!r})"
        time.sleep(0.05)
        waited_s += min(time.monotonic() - began, STALL_S)
