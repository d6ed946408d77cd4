"""The output channels of this gateway: one a member (protocol §8)."""

from typing import Protocol


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
