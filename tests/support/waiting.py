"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within_s: float, what: str) -> T:
    """The first true answer of `look`; fails naming `what` when there is none in time. Blocks its thread."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {within_s} s: {what} (last seen: {seen!r})"
        time.sleep(0.05)
