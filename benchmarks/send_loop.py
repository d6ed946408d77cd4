"""The least that a fan-out can cost: a loop of `send(2)` in C over the sockets' own descriptors."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

# A full buffer is waited out: the frame counts when the kernel has it, as in the gateway.
SOURCE = r"""
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

int send_all(const int *fds, int count, const char *frame, long size) {
    for (int i = 0; i < count; i++) {
        for (long sent = 0; sent < size;) {
            long taken = send(fds[i], frame + sent, size - sent, MSG_NOSIGNAL);
            if (taken >= 0) { sent += taken; continue; }
            if (errno != EAGAIN) return errno;
            struct pollfd room = {fds[i], POLLOUT, 0};
            poll(&room, 1, 1000);
        }
    }
    return 0;
}
"""

SendAll = Callable[[bytes], None]


@contextmanager
def send_loop(descriptors: Sequence[int]) -> Iterator[SendAll]:
    """Sends a frame to all of them, one after the other.

    Raises:
        RuntimeError: there is no C compiler (`cc`), or a socket is gone.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the loop that we compare with is C: install a compiler (Debian: apt-get install gcc)")
    with TemporaryDirectory(prefix="auerbach-bench-") as folder:
        source, library = Path(folder) / "send_loop.c", Path(folder) / "send_loop.so"
        source.write_text(SOURCE)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        call = ctypes.CDLL(str(library)).send_all
        call.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_long]
        array = (ctypes.c_int * len(descriptors))(*descriptors)

        def send_all(frame: bytes) -> None:
            failed = call(array, len(descriptors), frame, len(frame))
            if failed:
                raise RuntimeError(f"send: errno {failed}")

        yield send_all
