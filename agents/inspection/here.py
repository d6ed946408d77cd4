"""This worker, as far as its operators' questions go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agents.partition import Partition
from app.inspection import State
from app.kafka.partition import partition_for
from app.kafka.topics import Layout


def _none() -> Mapping[int, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Here:
    """The worker's name and address, the topics, and its partitions.

    `owned` gives a partition that is open here, `assigned` the numbers of those that it has or is to open, `stopped`
    the reasons of those that it cannot serve.
    """

    worker: str
    url: str
    layout: Layout
    owned: Callable[[int], Partition | None]
    assigned: Callable[[], set[int]]
    stopped: Callable[[], Mapping[int, str]] = _none

    def serving(self, number: int) -> Partition | None:
        """The partition, if it serves here."""
        partition = self.owned(number)
        return partition if partition is not None and partition.serving else None

    def all_serving(self) -> list[Partition]:
        """The partitions that serve here, in the order of their numbers."""
        served = (self.serving(number) for number in range(self.layout.partitions))
        return [partition for partition in served if partition is not None]

    def partition_of(self, group: str) -> int:
        """The number of a group's partition."""
        return partition_for(group.encode(), self.layout.partitions)

    def state(self, number: int) -> tuple[State | None, str | None]:
        """What the partition does here, and why it is stopped; None if it is not this worker's."""
        if (reason := self.stopped().get(number)) is not None:
            return "stopped", reason
        if (serving := self.serving(number)) is not None:
            return ("open" if serving.tables.held is None else "loading"), None
        return ("opening", None) if number in self.assigned() else (None, None)
