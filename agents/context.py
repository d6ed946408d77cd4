"""What all partitions of a worker share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from app.config import Settings
from app.kafka.producer import Producer
from app.kafka.topics import Layout

HISTORIES = 2  # loaded at a time, each in a thread of its own


@dataclass(frozen=True, slots=True)
class Context:
    """The settings, the topics as they are, the two producers, and the way out.

    `events` writes events, replies, owners and dead letters; `changelog` the tables' rows. `leave` ends the process:
    whatever went wrong, opening again reads the truth from the log. `stop` ends one partition whose data only an
    operator can put right; `rewind` has a partition's commands read again from an offset. `histories` has the threads
    that load histories. `url` is where gateways ask this worker.
    """

    settings: Settings
    layout: Layout
    events: Producer
    changelog: Producer
    url: str
    leave: Callable[[Exception], None]
    stop: Callable[[int, Exception], None]
    rewind: Callable[[int, int], None]
    histories: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(HISTORIES, "history"))

    @property
    def bootstrap(self) -> str:
        """The broker."""
        return self.settings.bootstrap
