"""`decide`: what becomes of a command. Total over state and command; pure.

The order of checks is the protocol's (§9): the fields, the group, the repeated `client_msg_id`, membership,
the least role, the rest. The rest has one place a command: groups' in `lifecycle`, members' in `membership`,
messages' in `messages`.
"""

from app.domain import idempotency, instants, lifecycle, membership, messages, rules
from app.domain.commands import (
    AddMember,
    AnyCommand,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    PruneHistory,
    React,
    RemoveMember,
    Role,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.events import AnyData, Event
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.domain.state import RANK, Group, Member, Target

Outcome = Event | Rejection | Duplicate | Unchanged

# The least role of a caller who is a member. An authority (`by` null) needs none.
LEAST_ROLE: dict[type[Command], Role] = {
    UpdateGroup: "admin",
    DeleteGroup: "owner",
    Leave: "reader",
    AddMember: "admin",
    RemoveMember: "admin",
    Unban: "admin",
    SetRole: "admin",
    Send: "member",
    Edit: "member",
    Delete: "reader",
    React: "reader",
    Unreact: "reader",
    PruneHistory: "owner",
}


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
        return Rejection("no_such_group", "there is no such group")
    repeated = _repeated(group, command, now_ms)
    if repeated is not None and not (beginning and group.life == "deleted" and isinstance(repeated, Duplicate)):
        return repeated  # a `create_group` repeated after its group was deleted begins a life
    if group.life == "deleted" and not beginning:
        return Rejection("no_such_group", "there is no such group")
    caller = _caller(group, command)
    if isinstance(caller, Rejection):
        return caller
    outcome = _decide(group, caller, command, target)
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


def _decide(  # noqa: C901 - a branch a command
    group: Group, caller: Member | None, command: AnyCommand, target: Target | None
) -> AnyData | Rejection | Unchanged:
    match command:
        case Send():  # first, for it is what most commands are
            return messages.send(group, command, target)
        case CreateGroup():
            return lifecycle.create(group, command)
        case UpdateGroup():
            return lifecycle.update(group, command)
        case DeleteGroup():
            return lifecycle.delete()
        case PruneHistory():
            return lifecycle.prune(group, command)
        case Join():
            return membership.join(group, command)
        case Leave():
            return membership.leave(group, caller, command)
        case AddMember():
            return membership.add(group, caller, command)
        case RemoveMember():
            return membership.remove(group, caller, command)
        case Unban():
            return membership.unban(group, command)
        case SetRole():
            return membership.set_role(group, caller, command)
        case Edit():
            return messages.edit(group, command, target)
        case Delete():
            return messages.delete(group, caller, command, target)
        case React():
            return messages.react(group, command, target)
        case Unreact():
            return messages.unreact(group, command, target)


def _caller(group: Group, command: AnyCommand) -> Member | Rejection | None:
    """The caller's membership, None where none is due (an authority, a beginner), or why it does not suffice."""
    least = LEAST_ROLE.get(type(command))
    if command.by in group.banned:
        return Rejection("banned", "you are banned from this group")
    if command.by is None or least is None:
        return None
    member = group.members.get(command.by)
    if member is None:
        return Rejection("not_a_member", "you are not a member of this group")
    if RANK[member.role] < RANK[least]:
        return Rejection("forbidden", f"this needs the role {least} or a higher one")
    return member


def _repeated(group: Group, command: AnyCommand, now_ms: int) -> Duplicate | Rejection | None:
    """The first outcome of this user's `client_msg_id`, while the window holds (protocol §2)."""
    if command.client_msg_id is None:
        return None
    sent = group.sent.get((command.by or "", command.client_msg_id))
    if sent is None or idempotency.expired(sent, group.seq, max(now_ms, group.at_ms)):
        return None
    if sent.digest != idempotency.digest_of_command(command):
        return Rejection("conflict", "this client_msg_id was used for something else")
    return Duplicate(sent.seq, sent.at_ms)
