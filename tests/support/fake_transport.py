"""A transport in memory: what an outbox writes, and a reader that takes it when told to."""

import asyncio
from typing import Any


class FakeTransport:
    """A transport over a kernel that takes everything, or nothing from `stall` on until `take_all`."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []  # in order, by whichever way
        self.buffered = 0  # bytes that the kernel has not taken
        self.duplicates = 0  # open ones
        self.closing = False
        self.raises = False
        self._room: int | None = None  # bytes that the kernel takes before it takes no more
        self._drained = asyncio.Event()
        self._drained.set()

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0  # or `drain` does not wait until everything is with the kernel

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_extra_info(self, name: str) -> Any:
        return self if name == "socket" else None

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        if self.raises:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        self.writes.append(data)
        self.buffered += len(data) - (0 if self.buffered else self._take(len(data)))
        if self.buffered:
            self._drained.clear()

    def dup(self) -> "Duplicate":
        return Duplicate(self)

    def sent(self, data: bytes) -> int:
        """`send(2)` on the socket: how much of `data` the kernel took."""
        if self.raises:
            raise ConnectionResetError
        assert not self.buffered, "sent past what waits in the transport"
        taken = self._take(len(data))
        if not taken:
            raise BlockingIOError
        self.writes.append(data if taken == len(data) else data[:taken])
        return taken

    def stall(self, after: int = 0) -> None:
        """The reader reads nothing: the kernel takes `after` bytes more, and then none."""
        self._room = after

    def take_all(self) -> None:
        """The reader reads everything."""
        self.buffered = 0
        self._room = None
        self._drained.set()

    async def drain(self) -> None:
        await self._drained.wait()

    def _take(self, size: int) -> int:
        if self._room is None:
            return size
        taken = min(size, self._room)
        self._room -= taken
        return taken


class Duplicate:
    """A socket's descriptor a second time."""

    def __init__(self, transport: FakeTransport) -> None:
        self._transport = transport
        self._open = True
        transport.duplicates += 1

    def send(self, data: bytes) -> int:
        if not self._open:
            raise OSError(9, "Bad file descriptor")
        return self._transport.sent(data)

    def close(self) -> None:
        self._transport.duplicates -= self._open
        self._open = False
