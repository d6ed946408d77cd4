"""A message as it is shown: one object from its local echo to its last reaction."""

import enum
from dataclasses import dataclass, field
from typing import Any

from auerbach_client.answers import HistoryItem
from auerbach_client.errors import AuerbachError


class Status(enum.Enum):
    """Where a message stands."""

    PENDING = "sent from here, without an outcome yet"
    POSTED = "in the log"
    FAILED = "not taken, or its outcome is unknown: retry or discard it"


@dataclass(slots=True, eq=False)
class Message:
    """One message of a `Conversation`, which alone changes it.

    `seq`, `id` and `at` (RFC 3339, UTC) are None before they are known. `text` is None where the message was deleted.
    `reactions` has the users by emoji, in the order of reacting. `error` says why a failed one failed.
    """

    by: str | None
    text: str | None
    client_msg_id: str | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attributes: dict[str, Any] | None = None
    status: Status = Status.POSTED
    seq: int | None = None
    id: str | None = None
    at: str | None = None
    edited_at: str | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    deleted: bool = False
    error: AuerbachError | None = None

    @classmethod
    def of_item(cls, item: HistoryItem) -> "Message":
        """The message that a history item shows."""
        return cls(
            item.by, item.text, item.client_msg_id, item.reply_to, item.mentions, item.attributes, Status.POSTED,
            item.seq, item.id, item.at, item.edited_at,
            {emoji: list(users) for emoji, users in item.reactions.items()}, item.deleted,
        )  # fmt: skip

    def edit(self, text: str | None, at: str) -> None:
        """Give it another text; a deleted one stays deleted."""
        if not self.deleted and text is not None:
            self.text, self.edited_at = text, at

    def delete(self) -> None:
        """Drop its content."""
        self.text, self.reply_to, self.mentions, self.attributes, self.edited_at = None, None, (), None, None
        self.reactions, self.deleted = {}, True

    def react(self, user: str, emoji: str) -> None:
        """Add a reaction. One that is there already moves to the end, so that events applied again give their order."""
        self.unreact(user, emoji)
        if not self.deleted:
            self.reactions.setdefault(emoji, []).append(user)

    def unreact(self, user: str, emoji: str) -> None:
        """Take a reaction back, if it is there."""
        users = self.reactions.get(emoji, [])
        if user in users:
            users.remove(user)
            if not users:
                del self.reactions[emoji]
