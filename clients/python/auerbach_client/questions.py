"""The requests that read a group, as methods: one page each, or all pages as an async iterator."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

from auerbach_client.answers import GroupState, HistoryPage, MembersPage, Online
from auerbach_client.errors import ChatError

Answer = TypeVar("Answer")


class Questions(ABC):
    """What a member may ask of a group (protocol §2). Each raises what `request` raises.

    A read sees everything that this client, or anybody whose acknowledgement it has heard of, was told is done.
    """

    @abstractmethod
    async def request(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Any request of the protocol; the reply's fields."""

    async def history(
        self, group: str, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> HistoryPage:
        """The newest messages with a seq below `before`, or the oldest with one above `after`; else the newest.

        `limit`: 1 to 200, by default 50. A page may have fewer though there are `more`.
        """
        reply = await self.request("history", group=group, before=before, after=after, limit=limit)
        return _typed(reply, HistoryPage)

    async def history_pages(
        self, group: str, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> AsyncIterator[HistoryPage]:
        """All pages: back in time from `before` or the newest message, or on from `after`.

        In each page the oldest message comes first, in both directions.
        """
        while True:
            page = await self.history(group, before=before, after=after, limit=limit)
            yield page
            if not page.more or not page.messages:
                return
            if after is None:
                before = page.messages[0].seq
            else:
                after = page.messages[-1].seq

    async def state(self, group: str, *, at_seq: int | None = None) -> GroupState:
        """The group's state: now, or as it was at the event `at_seq` of its current life."""
        reply = await self.request("state", group=group, at_seq=at_seq)
        return _typed(reply.get("state"), GroupState)

    async def members(self, group: str, *, limit: int | None = None, cursor: str | None = None) -> MembersPage:
        """A page of members in the order of joining; `limit`: 1 to 1,000, which is the default."""
        reply = await self.request("members", group=group, limit=limit, cursor=cursor)
        return _typed(reply, MembersPage)

    async def member_pages(self, group: str, *, limit: int | None = None) -> AsyncIterator[MembersPage]:
        """All pages of members; who comes or goes meanwhile may be missing, or still there."""
        cursor: str | None = None
        while True:
            page = await self.members(group, limit=limit, cursor=cursor)
            yield page
            cursor = page.cursor
            if cursor is None:
                return

    async def presence(self, group: str) -> Online:
        """Who is online in the group now."""
        return _typed(await self.request("presence", group=group), Online)

    async def ping(self) -> None:
        """A sign of life, there and back."""
        await self.request("ping")


def _typed(fields: Any, answer: type[Answer]) -> Answer:
    try:
        return msgspec.convert(fields, answer)
    except msgspec.ValidationError as bad:
        raise ChatError("internal", f"the answer is not understood: {bad}") from bad
