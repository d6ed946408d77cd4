"""How long to wait before trying again: full jitter, so that many clients do not come back at the same instant."""

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits from `least_s` to a ceiling that doubles with each attempt up to `most_s`, evenly spread (seconds)."""

    least_s: float
    most_s: float
    chance: random.Random = field(default_factory=random.Random)

    def delay_s(self, attempt: int) -> float:
        """The wait before the attempt `attempt`, which counts from 1."""
        ceiling = min(self.most_s, self.least_s * 2.0 ** min(attempt, 60))
        return self.chance.uniform(self.least_s, ceiling)


def reconnecting() -> Backoff:
    """Before connecting again: between 1 and 30 s (protocol §6)."""
    return Backoff(1.0, 30.0)


def repeating() -> Backoff:
    """Before repeating a request that was refused for now."""
    return Backoff(0.1, 5.0)
