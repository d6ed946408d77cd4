"""What the server answers to questions, typed. Fields that this version does not know are ignored."""

from typing import Any

import msgspec


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable, and safe to share between tasks."""


class Member(_Answer, frozen=True):
    """A member. `role`: `reader`, `member`, `admin` or `owner`; `read`: the seq up to which the member has read."""

    user: str
    role: str
    read: int | None = None


class GroupState(_Answer, frozen=True):
    """A group as it was at the event `seq` (protocol §4).

    `first` is the seq with which the group's current life began. `members` are in the order of joining, cut at 1,000
    (then `members_more`; the rest by `Client.member_pages`). `online` are the users who are online, cut at 1,000 (then
    `online_more`); of an old state, nobody.
    """

    name: str
    topic: str = ""
    join: str = "invite"
    history: str = "all"
    first: int = 0
    seq: int = 0
    members: tuple[Member, ...] = ()
    members_more: bool = False
    online: tuple[str, ...] = ()
    online_more: bool = False


class Online(_Answer, frozen=True):
    """The users who are online in a group, cut at 1,000 (then `online_more`)."""

    online: tuple[str, ...] = ()
    online_more: bool = False


class HistoryItem(_Answer, frozen=True):
    """A message as it is now, edits and reactions included (protocol §9).

    A deleted one has `text` None, `deleted` and no other content. `reactions` has the users by emoji, cut at 1,000
    for those in `reactions_more`. Instants are RFC 3339 in UTC.
    """

    seq: int
    id: str
    by: str | None
    at: str
    client_msg_id: str | None = None
    text: str | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    attributes: dict[str, Any] | None = None
    edited_at: str | None = None
    reactions: dict[str, tuple[str, ...]] = {}
    reactions_more: tuple[str, ...] = ()
    deleted: bool = False


class HistoryPage(_Answer, frozen=True):
    """Messages, oldest first, and whether there are more in the direction that was asked for."""

    messages: tuple[HistoryItem, ...] = ()
    more: bool = False


class MembersPage(_Answer, frozen=True):
    """Members in the order of joining, and the cursor of the next page; None behind the last."""

    members: tuple[Member, ...] = ()
    cursor: str | None = None
