"""A running loop's clock that a test puts forward: its deadlines come when the test says so, and not before."""

import asyncio

import pytest


class LoopClock:
    """The clock of the running loop (not uvloop's, which no test can set)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, self._ahead_s = asyncio.get_running_loop(), 0.0
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead_s)

    async def put_forward(self, by_s: float) -> None:
        """Have `by_s` seconds pass at once; what was due within them has run when this returns."""
        self._ahead_s += by_s
        for _ in range(50):
            await asyncio.sleep(0)
