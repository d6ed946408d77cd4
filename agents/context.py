"""What all partitions of a worker share."""

from collections.abc import Callable
from dataclasses import dataclass

from app.config import Settings
from app.kafka.producer import Producer
from app.kafka.topics import Layout


@dataclass(frozen=True, slots=True)
class Context:
    """The settings, the topics as they are, the two producers, and the way out.

    `events` writes events, replies, owners and dead letters; `changelog` the tables' rows. `leave` ends the process:
    whatever went wrong, opening again reads the truth from the log. `url` is where gateways ask this worker.
    """

    settings: Settings
    layout: Layout
    events: Producer
    changelog: Producer
    url: str
    leave: Callable[[Exception], None]

    @property
    def bootstrap(self) -> str:
        """The broker."""
        return self.settings.bootstrap
