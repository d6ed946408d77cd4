"""Partitions that starve: commands wait in their log, and Faust brings them none.

A stream that stands still after a rebalance raises nothing, and would stand until the next one: no event is missing, no
delivery is late. So the owner, who knows which command is due (docs/adr/014), looks by itself whether there is one.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from confluent_kafka import Consumer

from app.kafka import consumer, topics
from app.telemetry import logger

log = logger("starvation")

LOOK_S = 5.0
AGAIN_LOOKS = 2  # in a row without a record: have it read again
# Working off a backlog, Faust may take 20 s to come round to a partition: it gets what it fetched, 1 MiB of each.
LEAVE_LOOKS = 12
READ_S = 5.0


class StarvedError(Exception):
    """Commands were not brought, not even when they were asked for again."""


class Eater(Protocol):
    """What is seen of a partition here: `idle` if it waits for records, `full` if whoever brings some waits for it."""

    number: int

    @property
    def idle(self) -> bool:
        """Whether it serves, and has nothing to do."""

    @property
    def full(self) -> bool:
        """Whether it takes no records for now: until it does, nobody gets any."""

    @property
    def next_command(self) -> int:
        """The offset that is due."""


class StarvationWatch:
    """Has a partition's commands read again after 10 s in which it got none of those that wait; leaves after a minute.

    `again` gets the partition and the offset that is due; `leave` ends the process, whose next start joins anew.
    """

    def __init__(
        self,
        bootstrap: str,
        partitions: Callable[[], Iterable[Eater]],
        again: Callable[[int, int], None],
        leave: Callable[[Exception], None],
    ) -> None:
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._again = again
        self._leave = leave
        self._seen: dict[int, tuple[int, int]] = {}  # partition → what was due, looks in a row that found it waiting

    async def run(self) -> None:
        """Look, every five seconds. A broker that does not answer is the business of others."""
        async with consumer.reader_off_loop(self._bootstrap) as reader:
            while True:
                await asyncio.sleep(LOOK_S)
                try:
                    waiting = await asyncio.to_thread(_waiting, reader, self._due())
                except consumer.ReadError as unknown:
                    log.debug("the broker did not tell", why=str(unknown))
                else:
                    self.look(waiting)

    def look(self, waiting: Iterable[int]) -> None:
        """Take in which of the partitions that were idle have commands waiting."""
        due = self._due()
        # Only what is still idle at the same place has got nothing in between.
        self._seen = {p: self._counted(p, due[p]) for p in waiting if p in due}
        for number, (offset, looks) in self._seen.items():
            if looks >= LEAVE_LOOKS:
                self._leave(StarvedError(f"partition {number}: command {offset} was not brought"))
                return
            if looks % AGAIN_LOOKS == 0:
                log.warning("commands wait and are not brought", partition=number, first=offset)
                self._again(number, offset)

    def _counted(self, number: int, offset: int) -> tuple[int, int]:
        last, looks = self._seen.get(number, (offset, 0))
        return offset, looks + 1 if last == offset else 1

    def _due(self) -> dict[int, int]:
        """The offset that is due, by idle partition; nothing while one of all is full."""
        partitions = list(self._partitions())
        return {} if any(p.full for p in partitions) else {p.number: p.next_command for p in partitions if p.idle}


def _waiting(reader: Consumer, due: Mapping[int, int]) -> list[int]:
    """The partitions that hold a record at or behind what is due. An end alone may be behind a transaction's marker."""
    found = []
    for number, offset in due.items():
        low, end = consumer.offsets(reader, topics.COMMANDS, number, READ_S)
        records = consumer.read(reader, topics.COMMANDS, number, max(low, offset), end, stall_s=READ_S)
        if next(records, None) is not None:
            found.append(number)
    reader.unassign()
    return found
