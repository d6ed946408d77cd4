"""`decide`: what becomes of a command. One place a command; total over state and command; pure.

The order of checks is the protocol's (§9): the fields, the group, the repeated `client_msg_id`, membership,
role, the rest.
"""

from app.domain import idempotency, instants, rules
from app.domain.commands import AddMember, AnyCommand, CreateGroup, Join, Leave, RemoveMember, Send
from app.domain.events import (
    AnyData,
    Event,
    GroupCreated,
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MessagePosted,
    NewMember,
)
from app.domain.outcomes import Code, Duplicate, Rejection, Unchanged
from app.domain.state import RANK, Group, Member, Target

Outcome = Event | Rejection | Duplicate | Unchanged


def decide(group: Group, command: AnyCommand, *, now_ms: int, event_id: str, target: Target | None = None) -> Outcome:
    """What `command` does to `group`: one event, or why not.

    `now_ms` is the command record's broker timestamp, `event_id` made from the record's place: the same
    command on the same state has the same outcome on every owner, for ever (design I8). `target` is
    the message that the command names by seq, None if that seq is no message of this life.
    """
    if refusal := rules.check(command):
        return refusal
    beginning = isinstance(command, CreateGroup)
    if group.life == "none" and not beginning:
        return _no("no_such_group", "there is no such group")
    if not (beginning and group.life == "deleted") and (repeated := _repeated(group, command, now_ms)):
        return repeated
    if group.life == "deleted" and not beginning:
        return _no("no_such_group", "there is no such group")
    outcome = _decide(group, command, target)
    if isinstance(outcome, Rejection | Unchanged):
        return outcome
    return Event(
        group=group.id,
        seq=group.seq + 1,
        id=event_id,
        kind=outcome.kind,
        by=command.by,
        at=instants.to_text(max(now_ms, group.at_ms)),
        client_msg_id=command.client_msg_id,
        data=outcome,
    )


def _decide(group: Group, command: AnyCommand, target: Target | None) -> AnyData | Rejection | Unchanged:
    match command:
        case CreateGroup():
            return _create(group, command)
        case Join():
            return _join(group, command)
        case Leave():
            return _leave(group, command)
        case AddMember():
            return _add_member(group, command)
        case RemoveMember():
            return _remove_member(group, command)
        case Send():
            return _send(group, command, target)


def _create(group: Group, c: CreateGroup) -> AnyData | Rejection:
    if group.life == "alive":
        return _no("already_exists", "there is a group with this id")
    creator = [NewMember(c.by, "owner")] if c.by is not None else []
    members = {m.user: NewMember(m.user, m.role) for m in c.members if m.user != c.by}
    return GroupCreated(
        name=c.name, topic=c.topic, join=c.join, history=c.history, members=(*creator, *members.values())
    )


def _join(group: Group, c: Join) -> AnyData | Rejection:
    if c.by is None:
        return rules.invalid("by", "an authority adds members, it does not join")
    if c.by in group.banned:
        return _no("banned", "you are banned from this group")
    if c.by in group.members:
        return _no("already_a_member", "you are a member already")
    if group.join != "open":
        return _no("forbidden", "this group is by invitation")
    return MemberJoined(user=c.by, role="member" if group.members else "owner")


def _leave(group: Group, c: Leave) -> AnyData | Rejection:
    member = _member(group, c.by)
    if isinstance(member, Rejection):
        return member
    if c.by is None or member is None:
        return rules.invalid("by", "an authority removes members, it does not leave")
    if member.role == "owner" and len(group.members) > 1:
        return _no("last_owner", "the owner must first transfer the ownership")
    return MemberLeft(user=c.by)


def _add_member(group: Group, c: AddMember) -> AnyData | Rejection:
    member = _member(group, c.by)
    if isinstance(member, Rejection):
        return member
    if member is not None and not _may_set(member, c.role):
        return _no("forbidden", "adding members needs an admin or the owner, and no higher role than one's own")
    if c.user in group.banned:
        return _no("banned", "this user is banned from this group")
    if c.user in group.members:
        return _no("already_a_member", "this user is a member already")
    return MemberJoined(user=c.user, role=c.role if group.members else "owner")


def _remove_member(group: Group, c: RemoveMember) -> AnyData | Rejection | Unchanged:
    member = _member(group, c.by)
    if isinstance(member, Rejection):
        return member
    if member is not None:
        if RANK[member.role] < RANK["admin"]:
            return _no("forbidden", "removing members needs an admin or the owner")
        if c.user == c.by:
            return rules.invalid("user", "one leaves, one does not remove oneself")
    victim = group.members.get(c.user)
    if victim is None:
        if c.ban and c.user not in group.banned:
            return MemberRemoved(user=c.user, banned=True)
        return Unchanged() if c.ban else _no("not_a_member", "this user is not a member")
    if member is not None and RANK[victim.role] >= RANK[member.role]:
        return _no("forbidden", "nobody removes someone of an equal or higher role")
    heir = _heir(group, c.user) if victim.role == "owner" else None
    return MemberRemoved(user=c.user, banned=c.ban, owner=heir)


def _send(group: Group, c: Send, target: Target | None) -> AnyData | Rejection:
    member = _member(group, c.by)
    if isinstance(member, Rejection):
        return member
    if member is not None and RANK[member.role] < RANK["member"]:
        return _no("forbidden", "a reader does not post")
    if c.reply_to is not None and (target is None or target.deleted):
        return _no("no_such_message", "reply_to: there is no such message")
    return MessagePosted(text=c.text, reply_to=c.reply_to, mentions=c.mentions, attributes=c.attributes)


def _member(group: Group, user: str | None) -> Member | Rejection | None:
    """The caller's membership, None for an authority, or the refusal of one who is no member."""
    if user is None:
        return None
    if user in group.banned:
        return _no("banned", "you are banned from this group")
    return group.members.get(user) or _no("not_a_member", "you are not a member of this group")


def _may_set(member: Member, role: str) -> bool:
    return member.role == "owner" or (member.role == "admin" and role in {"reader", "member"})


def _heir(group: Group, leaving: str) -> str | None:
    """Who owns the group after an authority removed the owner: the longest-standing admin, else member."""
    rest = [user for user in group.members if user != leaving]
    rest.sort(key=lambda user: (-RANK[group.members[user].role], group.members[user].joined))
    return rest[0] if rest else None


def _repeated(group: Group, command: AnyCommand, now_ms: int) -> Duplicate | Rejection | None:
    """The first outcome of this user's `client_msg_id`, while the window holds (protocol §2)."""
    if command.client_msg_id is None:
        return None
    sent = group.sent.get((command.by or "", command.client_msg_id))
    if sent is None or idempotency.expired(sent, group.seq, max(now_ms, group.at_ms)):
        return None
    if sent.digest != idempotency.digest_of_command(command):
        return _no("conflict", "this client_msg_id was used for something else")
    return Duplicate(sent.seq, sent.at_ms)


def _no(code: Code, message: str) -> Rejection:
    return Rejection(code, message)
