"""The requests that change a group, as methods."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ack:
    """What the server says to a request that changes a group: it is in the log, on disk, as event `seq`.

    `seq` is None where nothing had to change; `at` (RFC 3339, UTC) is told of messages; `duplicate`: it had taken
    effect before, as that event.
    """

    group: str
    seq: int | None
    at: str | None
    duplicate: bool


class Changes(ABC):
    """What a client may ask that becomes an event of a group (protocol §2).

    Each raises what `request` raises. Give a `client_msg_id` of your own to be able to repeat a request in a later
    process, within 10 minutes (protocol §2); within one the client repeats by itself.
    """

    @abstractmethod
    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Any request of the protocol; the reply's fields."""

    async def create_group(
        self,
        group: str | None = None,
        *,
        name: str,
        topic: str | None = None,
        join: str | None = None,
        history: str | None = None,
        members: Sequence[dict[str, str]] | None = None,
        client_msg_id: str | None = None,
    ) -> Ack:
        """Create a group, as its owner; without an id, the server makes one from `client_msg_id`.

        `join` is `"open"` or `"invite"` (default), `history` `"all"` (default) or `"joined"`, `members`
        `[{"user": …, "role": …}]`.
        """
        return await self._change(
            "create_group",
            group=group,
            name=name,
            topic=topic,
            join=join,
            history=history,
            members=None if members is None else list(members),
            client_msg_id=client_msg_id,
        )

    async def update_group(
        self,
        group: str,
        *,
        name: str | None = None,
        topic: str | None = None,
        join: str | None = None,
        history: str | None = None,
        client_msg_id: str | None = None,
    ) -> Ack:
        """Change what is given of the settings; at least one must be."""
        return await self._change(
            "update_group",
            group=group,
            name=name,
            topic=topic,
            join=join,
            history=history,
            client_msg_id=client_msg_id,
        )

    async def delete_group(self, group: str, *, client_msg_id: str | None = None) -> Ack:
        """End the group for all of its members."""
        return await self._change("delete_group", group=group, client_msg_id=client_msg_id)

    async def join(self, group: str, *, client_msg_id: str | None = None) -> Ack:
        """Become a member of an open group."""
        return await self._change("join", group=group, client_msg_id=client_msg_id)

    async def leave(self, group: str, *, client_msg_id: str | None = None) -> Ack:
        """Be a member no longer."""
        return await self._change("leave", group=group, client_msg_id=client_msg_id)

    async def add_member(
        self, group: str, user: str, *, role: str | None = None, client_msg_id: str | None = None
    ) -> Ack:
        """Make `user` a member: `"reader"`, `"member"` (default) or `"admin"`."""
        return await self._change("add_member", group=group, user=user, role=role, client_msg_id=client_msg_id)

    async def remove_member(
        self, group: str, user: str, *, ban: bool | None = None, client_msg_id: str | None = None
    ) -> Ack:
        """End the membership of `user`, and keep them out if `ban`."""
        return await self._change("remove_member", group=group, user=user, ban=ban, client_msg_id=client_msg_id)

    async def unban(self, group: str, user: str, *, client_msg_id: str | None = None) -> Ack:
        """Let `user` in again."""
        return await self._change("unban", group=group, user=user, client_msg_id=client_msg_id)

    async def set_role(self, group: str, user: str, role: str, *, client_msg_id: str | None = None) -> Ack:
        """Make a member `"reader"`, `"member"`, `"admin"`, or `"owner"`: that transfers the ownership."""
        return await self._change("set_role", group=group, user=user, role=role, client_msg_id=client_msg_id)

    async def send(
        self,
        group: str,
        text: str,
        *,
        reply_to: int | None = None,
        mentions: Sequence[str] | None = None,
        attributes: dict[str, Any] | None = None,
        client_msg_id: str | None = None,
    ) -> Ack:
        """Post a message; `reply_to` is a message's seq, `mentions` are users."""
        return await self._change(
            "send",
            group=group,
            text=text,
            reply_to=reply_to,
            mentions=None if mentions is None else list(mentions),
            attributes=attributes,
            client_msg_id=client_msg_id,
        )

    async def edit(self, group: str, seq: int, text: str, *, client_msg_id: str | None = None) -> Ack:
        """Give one's own message `seq` another text."""
        return await self._change("edit", group=group, seq=seq, text=text, client_msg_id=client_msg_id)

    async def delete(self, group: str, seq: int, *, client_msg_id: str | None = None) -> Ack:
        """Take back the content of the message `seq`."""
        return await self._change("delete", group=group, seq=seq, client_msg_id=client_msg_id)

    async def react(self, group: str, seq: int, emoji: str, *, client_msg_id: str | None = None) -> Ack:
        """Add one's `emoji` to the message `seq`."""
        return await self._change("react", group=group, seq=seq, emoji=emoji, client_msg_id=client_msg_id)

    async def unreact(self, group: str, seq: int, emoji: str, *, client_msg_id: str | None = None) -> Ack:
        """Take one's `emoji` from the message `seq`."""
        return await self._change("unreact", group=group, seq=seq, emoji=emoji, client_msg_id=client_msg_id)

    async def _change(self, kind: str, **fields: Any) -> Ack:
        reply = await self.request(kind, **fields)
        group = reply.get("group", fields.get("group"))
        return Ack(str(group), reply.get("seq"), reply.get("at"), reply.get("duplicate") is True)
