"""The server's rate limit, kept on our side: who never exceeds it is never refused, and keeps the order sent."""

import asyncio

# The server's bucket holds two seconds' worth (protocol §9); a little less here, as frames bunch up on their way.
_BURST_S = 1.8
_SHARE = 0.95


class Pace:
    """A token bucket for one socket and its one writer: `per_second` requests, and a burst of 1.8 s' worth."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second * _SHARE
        self._most = max(1.0, per_second * _BURST_S)
        self._left = self._most
        self._at = asyncio.get_running_loop().time()

    async def turn(self) -> None:
        """Wait until one more request may go out."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._rate)
