"""The highest rate that is borne: doubling until one is not, then bisection, in a bounded number of steps."""

from collections.abc import Callable

STEPS = 12


def highest(holds: Callable[[float], bool], start: float, *, within: float = 0.1, steps: int = STEPS) -> float:
    """The highest rate found for which `holds` says so, to about the share `within`; 0 if none was.

    `holds` is asked at most `steps` times.

    >>> asked = []
    >>> highest(lambda rate: asked.append(rate) or rate <= 730, 100)
    700.0
    >>> asked
    [100, 200, 400, 800, 600.0, 700.0, 750.0]
    >>> highest(lambda rate: False, 100, steps=5)
    0.0
    """
    low, high, rate = 0.0, None, start
    for _ in range(steps):
        if holds(rate):
            low = rate
        else:
            high = rate
        if high is not None and high - low <= within * high:
            break
        rate = 2 * low if high is None else (low + high) / 2
    return low
