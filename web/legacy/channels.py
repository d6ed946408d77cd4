"""The output channels of members: one each, over all gateways (protocol §8)."""

import asyncio
from collections.abc import Callable
from typing import Protocol

# Owners merge and pace what they announce: that a channel was opened has been read by then, or will not be.
LATE_S = 5.0


class Channel(Protocol):
    """A member's socket that is shown the group."""

    group: str
    user: str

    def replaced(self) -> None:
        """Another one takes its place."""


class Channels:
    """Who has one here. Channels at other gateways are told of by signals."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Channel] = {}

    def take(self, channel: Channel) -> None:
        """From now on this is the member's channel; an older one ends."""
        older = self._open.get((channel.group, channel.user))
        self._open[channel.group, channel.user] = channel
        if older is not None:
            older.replaced()

    def give_up(self, channel: Channel) -> None:
        """The channel has ended; nothing happens if another one has taken its place."""
        if self._open.get((channel.group, channel.user)) is channel:
            del self._open[channel.group, channel.user]


class Order:
    """Where a channel stands among its member's, by the order in which the log tells that they were opened.

    The last one stays. Before the log has told of this one, it may tell of an older one, late; or of a newer one alone,
    where this one's word was lost. What follows within `LATE_S` shows which it was.
    """

    def __init__(self, channel: str, on_replaced: Callable[[], None]) -> None:
        self._channel = channel
        self._on_replaced = on_replaced
        self._is_told = False
        self._doubt: asyncio.TimerHandle | None = None

    def opened(self, channels: list[str]) -> None:
        """The log tells at once that the member opened `channels`, one after another."""
        if self._channel in channels:
            self._is_told = True
            self.end()
        if channels[-1] == self._channel:
            return
        if self._is_told:
            self._on_replaced()
        elif self._doubt is None:
            self._doubt = asyncio.get_running_loop().call_later(LATE_S, self._on_replaced)

    def end(self) -> None:
        """Nothing is in doubt any more."""
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
