"""How far a process is, for another one to see: a number in a file that both have in memory."""

import mmap
import struct
from pathlib import Path

_NUMBER = struct.Struct("<q")


class Progress:
    """Counts commands that are done with. One process adds, any may look."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_NUMBER.size))
        with file.open("r+b") as opened:
            self._seen = mmap.mmap(opened.fileno(), _NUMBER.size)
        self._done = self.done()

    def add(self, count: int) -> None:
        """So many more are done with."""
        self._done += count
        _NUMBER.pack_into(self._seen, 0, self._done)

    def done(self) -> int:
        """How many are, in all."""
        done: int = _NUMBER.unpack_from(self._seen, 0)[0]
        return done
