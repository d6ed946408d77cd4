"""Decisions about messages. `target` is the message that a command names, None where that seq is none."""

from typing import TypeGuard

from app.domain import rules
from app.domain.commands import Command, Delete, Edit, React, Send, Unreact
from app.domain.events import MessageDeleted, MessageEdited, MessagePosted, ReactionAdded, ReactionRemoved
from app.domain.outcomes import Rejection, Unchanged
from app.domain.state import RANK, Group, Member, Target, readable

NO_SUCH_MESSAGE = Rejection("no_such_message", "there is no such message")


def send(group: Group, c: Send, target: Target | None) -> MessagePosted | Rejection:
    """A reply names a message that its author can read."""
    if c.reply_to is not None and not _there(target, group, c):
        return Rejection("no_such_message", "reply_to: there is no such message")
    return MessagePosted(text=c.text, reply_to=c.reply_to, mentions=c.mentions, attributes=c.attributes)


def edit(group: Group, c: Edit, target: Target | None) -> MessageEdited | Rejection:
    """Only the author edits, an authority its own."""
    if not _there(target, group, c):
        return NO_SUCH_MESSAGE
    if target.by != c.by:
        return Rejection("forbidden", "only the author edits a message")
    return MessageEdited(target=c.seq, text=c.text)


def delete(group: Group, caller: Member | None, c: Delete, target: Target | None) -> MessageDeleted | Rejection:
    """The author deletes, whatever role is left to it; admins, the owner and an authority delete any message."""
    if not _there(target, group, c):
        return NO_SUCH_MESSAGE
    if caller is not None and target.by != c.by and RANK[caller.role] < RANK["admin"]:
        return Rejection("forbidden", "only the author, an admin or the owner deletes a message")
    return MessageDeleted(target=c.seq)


def react(group: Group, c: React, target: Target | None) -> ReactionAdded | Rejection | Unchanged:
    """One reaction of each kind a user and message."""
    if c.by is None:
        return rules.invalid("by", "an authority does not react")
    if not _there(target, group, c):
        return NO_SUCH_MESSAGE
    return Unchanged() if target.reacted else ReactionAdded(target=c.seq, emoji=c.emoji)


def unreact(group: Group, c: Unreact, target: Target | None) -> ReactionRemoved | Rejection | Unchanged:
    """Taking back what is not there changes nothing."""
    if c.by is None:
        return rules.invalid("by", "an authority does not react")
    if not _there(target, group, c):
        return NO_SUCH_MESSAGE
    return ReactionRemoved(target=c.seq, emoji=c.emoji) if target.reacted else Unchanged()


def _there(target: Target | None, group: Group, c: Command) -> TypeGuard[Target]:
    """Whether the caller finds the message: it is one, undeleted, kept, and the caller may read it."""
    if target is None or target.deleted or target.seq <= group.pruned:
        return False
    return c.by is None or readable(group, c.by, target.seq)
