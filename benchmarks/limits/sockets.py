"""A bare loop of `send(2)` that hands many sockets all of a long history: what a resume cannot be cheaper than."""

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.raw_client import Drain
from benchmarks.send_loop import send_loop

_CHUNK = 65_536  # bytes a call, as the gateway's window
_WITHIN_S = 60


@dataclass(frozen=True, slots=True)
class Client:
    """A socket that is read and nothing else."""

    socket: socket.socket


def bare_history_s(clients: int, size: int) -> tuple[float, float]:
    """Send `size` bytes to each of so many sockets in turns, while they are read: seconds, and of CPU of the sender.

    Raises:
        RuntimeError: it did not come to its end.
    """
    with ExitStack() as ending:
        listener = ending.enter_context(socket.create_server(("127.0.0.1", 0), backlog=clients))
        readers, senders = [], []
        for _ in range(clients):
            readers.append(ending.enter_context(socket.create_connection(listener.getsockname())))
            senders.append(ending.enter_context(listener.accept()[0]))
            senders[-1].setblocking(False)
        send_all = ending.enter_context(send_loop([each.fileno() for each in senders]))
        spent_s: list[float] = []

        def send() -> None:
            began = time.thread_time()
            for start in range(0, size, _CHUNK):
                send_all(bytes(min(_CHUNK, size - start)))
            spent_s.append(time.thread_time() - began)

        began = time.monotonic()
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        Drain([Client(reader) for reader in readers]).take(clients * size)
        sender.join(_WITHIN_S)
        if not spent_s:
            raise RuntimeError(f"the loop did not end within {_WITHIN_S} s")
        return time.monotonic() - began, spent_s[0]
