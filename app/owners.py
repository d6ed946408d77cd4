"""Who owns each partition, as the owners topic tells it (design §3)."""

import asyncio
from collections.abc import Callable

import msgspec

from app.reads import OwnerRecord, decode_owner


class Owners:
    """The current owner of each partition: the record of the highest epoch, of this log only."""

    def __init__(self, partitions: int, log_id: str) -> None:
        self._log_id = log_id
        self._owners: dict[int, OwnerRecord] = {}
        self._changed = [asyncio.Event() for _ in range(partitions)]
        self._listeners: list[Callable[[int], None]] = []

    def listen(self, on_change: Callable[[int], None]) -> None:
        """Call `on_change` with each partition that has another owner from now on, or the same under a new claim."""
        self._listeners.append(on_change)

    def get(self, partition: int) -> OwnerRecord | None:
        """The owner, if one is known."""
        return self._owners.get(partition)

    def learn(self, partition: int, owner: OwnerRecord) -> None:
        """Take in a record of the owners topic. Another log's, or an earlier owner's that comes late, is ignored."""
        known = self._owners.get(partition)
        if not 0 <= partition < len(self._changed) or not supersedes(known, owner, self._log_id):
            return
        self._owners[partition] = owner
        if known is None or owner.epoch > known.epoch or owner.url != known.url:
            changed, self._changed[partition] = self._changed[partition], asyncio.Event()
            changed.set()
            for on_change in self._listeners:
                on_change(partition)

    async def change(self, partition: int, timeout_s: float) -> None:
        """Wait until the partition has another owner, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed[partition].wait()
        except TimeoutError:
            pass

    def without(self) -> list[int]:
        """The partitions that have no known owner."""
        return [p for p in range(len(self._changed)) if p not in self._owners]


def parse_owner(key: bytes | None, value: bytes | None) -> tuple[int, OwnerRecord] | None:
    """The partition and the owner that a record of the owners topic names; None if it is no such record."""
    try:
        return int(key or b""), decode_owner(value or b"")
    except (ValueError, msgspec.MsgspecError):
        return None


def supersedes(known: OwnerRecord | None, owner: OwnerRecord, log_id: str) -> bool:
    """Whether `owner` is to be believed in place of `known`."""
    return owner.log == log_id and (known is None or owner.epoch >= known.epoch)
