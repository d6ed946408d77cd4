"""Who is online in the groups that are followed here (protocol §5, design §5, docs/adr/025)."""

from web.presence_change import PresenceChange

__all__ = ["Presence", "PresenceChange"]


class Presence:
    """What sockets tell of their users, and what they are told of others."""

    def enter(self, group: str, user: str, channel: str | None = None) -> None:
        """A socket of `user` here is subscribed to `group` from now on.

        `channel`: its session id, if it is one of the replaced service's protocol.
        """

    def leave(self, group: str, user: str, channel: str | None = None) -> None:
        """A socket that had entered is not subscribed any more."""

    def told(self, group: str) -> list[str]:  # noqa: ARG002 - soon
        """The users who are online, as this gateway's clients know them."""
        return []
