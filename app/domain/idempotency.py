"""Which commands are repetitions: the content of a request, and how long its key is kept (protocol §2).

A digest of what was asked is what is kept. It travels in the event's record, because an event tells what changed and
not always what was asked: an equal setting is left out of `group.updated`, who is added to an empty group owns it.
"""

import hashlib
from typing import Any

import msgspec

from app.domain.commands import (
    AddMember,
    AnyCommand,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.events import Event, GroupCreated, MemberJoined, MemberLeft, MemberRemoved, MessagePosted
from app.domain.state import Sent

WINDOW_EVENTS = 10_000
WINDOW_MS = 24 * 3_600_000
LEAST_MS = 10 * 60_000

_canonical = msgspec.json.Encoder(order="sorted")


def expired(sent: Sent, seq: int, at_ms: int) -> bool:
    """Whether a key is out of the window of 24 h and 10,000 events; never before 10 minutes."""
    age_ms = at_ms - sent.at_ms
    return age_ms > LEAST_MS and (age_ms > WINDOW_MS or seq - sent.seq >= WINDOW_EVENTS)


def digest_of_command(c: AnyCommand) -> str:  # noqa: C901 - a branch a command
    """The digest of what `c` asks: parsed values, not the spelling."""
    match c:
        case Send():  # first, for it is what most commands are
            return _digest("send", c.text, c.reply_to, c.mentions, c.attributes)
        case CreateGroup():
            others = {m.user: m.role for m in c.members if m.user != c.by}
            return _digest("create_group", c.name, c.topic, c.join, c.history, list(others.items()))
        case UpdateGroup():
            return _digest("update_group", c.name, c.topic, c.join, c.history)
        case DeleteGroup():
            return _digest("delete_group")
        case Join():
            return _digest("join")
        case Leave():
            return _digest("leave")
        case AddMember():
            return _digest("add_member", c.user, c.role if c.by is not None else None)
        case RemoveMember():
            return _digest("remove_member", c.user, c.ban)
        case Unban():
            return _digest("unban", c.user)
        case SetRole():
            return _digest("set_role", c.user, c.role)
        case Edit():
            return _digest("edit", c.seq, c.text)
        case Delete():
            return _digest("delete", c.seq)
        case React():
            return _digest("react", c.seq, c.emoji)
        case Unreact():
            return _digest("unreact", c.seq, c.emoji)
        case PruneHistory():
            return _digest("prune_history", c.through)


def digest_of_event(event: Event) -> str:
    """The digest of the request that became `event`, for records of before the digest was written beside them.

    Equal to `digest_of_command` of that request for the kinds that there were; "" for a later kind.
    """
    match event.data:
        case GroupCreated() as d:
            others = [(m.user, m.role) for m in d.members if m.user != event.by]
            return _digest("create_group", d.name, d.topic, d.join, d.history, others)
        case MemberJoined() as d if d.user == event.by:
            return _digest("join")
        case MemberJoined() as d:
            # An authority's first addition to an empty group makes an owner, whatever role it named.
            return _digest("add_member", d.user, d.role if event.by is not None else None)
        case MemberLeft():
            return _digest("leave")
        case MemberRemoved() as d:
            return _digest("remove_member", d.user, d.banned)
        case MessagePosted() as d:
            return _digest("send", d.text, d.reply_to, d.mentions, d.attributes)
        case _:
            return ""


def _digest(*content: Any) -> str:
    return hashlib.blake2b(_canonical.encode(content), digest_size=12).hexdigest()
