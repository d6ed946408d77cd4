"""Where reading starts in each partition that the group gives: where it stands, or where a bridge begins at first."""

from collections.abc import Callable

from confluent_kafka import Consumer

from app.kafka.topics import Layout
from bridges.outbound.positions import Log, Place, committed_places


class Starts:
    """The places to start at, from the last look at the log and from what the group has committed.

    Blocks: for the reader's thread. `log_id` may be read in any.
    """

    def __init__(self, bootstrap: str, group: str, *, earliest: bool, look: Callable[[], Layout]) -> None:
        """`look` gives the topics as they are, or raises TopicsError; `earliest`: where a bridge begins at first."""
        self._bootstrap = bootstrap
        self._group = group
        self._earliest = earliest
        self._look = look
        # Fixed at the first look: what is written while partitions are not assigned yet is new, too.
        self._first: Log | None = None
        self._log: Log | None = None
        self._layout: Layout | None = None

    @property
    def log_id(self) -> str | None:
        """The log that was there at the last look; None before the first."""
        return None if self._layout is None else self._layout.log_id

    def look(self) -> None:
        """Look at the log; one that was put in place of the other has a first look of its own.

        Raises:
            TopicsError: the topics are not there, or not as they must be.
            ReadError: the broker did not answer in time.
        """
        layout = self._look()
        if self._layout is not None and layout.log_id != self._layout.log_id:
            self._first = None
        self._layout = layout
        self._log = Log(self._bootstrap, layout)
        self._first = self._first or self._log

    def places(self, consumer: Consumer, partitions: list[int], stopped: Callable[[], bool]) -> dict[int, Place]:
        """Where to start in each of the partitions, which the consumer's group gave.

        Raises:
            PositionError: what is committed is no place in this log.
            ReadError: Kafka did not say in time, or `stopped`.
        """
        assert self._log is not None
        assert self._first is not None
        committed = committed_places(consumer, partitions, stopped) if partitions else {}
        return {
            p: self._log.resume(p, committed[p], self._group)
            if p in committed
            else self._first.begin(p, earliest=self._earliest)
            for p in partitions
        }
