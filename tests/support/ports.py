"""Free ports, below the range that the kernel gives to outgoing connections."""

import os
import random

from app.cli.launch.preflight import is_free

_LEAST, _GREATEST = 15_000, 30_000
# pytest-xdist's: workers side by side have ranges of their own, for a port stays one's own while who listens is down.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_SHARE = (_GREATEST - _LEAST) // _WORKERS
_FIRST = _LEAST + _WORKER * _SHARE
_LAST = _FIRST + _SHARE
_given: set[int] = set()


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on and that no other test here was given."""
    for _ in range(200):
        first = random.randrange(_FIRST, _LAST - count)
        run = range(first, first + count)
        if _given.isdisjoint(run) and all(is_free("127.0.0.1", port) for port in run):
            _given.update(run)
            return first
    raise AssertionError(f"no {count} free ports in a row between {_FIRST} and {_LAST}")
