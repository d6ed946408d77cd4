"""Faust's recovery as a course of events, without its reading: our loader brings the tables to where they must be.

Faust reads a changelog at some 3,000 rows a second on the loop that serves, applies rows that rule F3 voids, and after
a rebalance may apply what it fetched for another partition. An opening loads behind its own claim anyway (design §4).
"""

from typing import Any

from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import Recovery as FaustRecovery


class Recovery(FaustRecovery):
    """Finds nothing to recover, and so comes to `on_recovery_completed` without a question to the broker."""

    async def _build_highwaters(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:  # noqa: ARG002
        destination.clear()

    async def _build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        """No positions: nothing is read."""

    async def _seek_offsets(self, consumer: Any, tps: Any, offsets: Any, title: str) -> None:
        """No positions: nothing is read."""


class TableManager(FaustTableManager):
    """Faust's tables with that recovery, and without its second of sleep at the start."""

    _recovery: Recovery | None = None

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Start to recover as soon as there is an assignment."""
        await self._update_channels()
        await self.recovery.start()
