"""A transport in memory: what an outbox writes, and a reader that takes it when told to."""

import asyncio


class FakeTransport:
    """A transport whose reader takes bytes when told to, like a socket with a full kernel buffer."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.buffered = 0
        self.high = 0
        self.closing = False
        self.raises = False
        self._room = asyncio.Event()
        self._room.set()

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        if self.raises:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        self.writes.append(data)
        self.buffered += len(data)
        if self.buffered > self.high:
            self._room.clear()

    def fill(self, size: int) -> None:
        """So many bytes wait for the reader, beside what was written."""
        self.buffered += size
        self._room.clear()

    def take_all(self) -> None:
        """The reader reads everything."""
        self.buffered = 0
        self._room.set()

    async def drain(self) -> None:
        await self._room.wait()
