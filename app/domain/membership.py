"""Decisions about members: who is in, who is kept out, and in which role.

`caller` is the membership of who asks, with the least role already checked; None for an authority.
"""

from app.domain import rules
from app.domain.commands import AddMember, Join, Leave, RemoveMember, SetRole, Unban
from app.domain.events import MemberJoined, MemberLeft, MemberRemoved, MemberRoleChanged, MemberUnbanned
from app.domain.outcomes import Rejection, Unchanged
from app.domain.state import RANK, Group, Member, owner_of


def join(group: Group, c: Join) -> MemberJoined | Rejection:
    """Who joins an empty group owns it."""
    if c.by is None:
        return rules.invalid("by", "an authority adds members, it does not join")
    if c.by in group.members:
        return Rejection("already_a_member", "you are a member already")
    if group.join != "open":
        return Rejection("forbidden", "this group is by invitation")
    return MemberJoined(user=c.by, role="member" if group.members else "owner")


def leave(group: Group, caller: Member | None, c: Leave) -> MemberLeft | Rejection:
    """An owner leaves last, or transfers the ownership first."""
    if c.by is None or caller is None:
        return rules.invalid("by", "an authority removes members, it does not leave")
    if caller.role == "owner" and len(group.members) > 1:
        return Rejection("last_owner", "the owner must first transfer the ownership")
    return MemberLeft(user=c.by)


def add(group: Group, caller: Member | None, c: AddMember) -> MemberJoined | Rejection:
    """An admin adds up to `member`; the first whom an authority adds to an empty group owns it."""
    if caller is not None and caller.role != "owner" and RANK[c.role] > RANK["member"]:
        return Rejection("forbidden", "an admin gives the roles reader and member only")
    if c.user in group.banned:
        return Rejection("banned", "this user is banned from this group")
    if c.user in group.members:
        return Rejection("already_a_member", "this user is a member already")
    return MemberJoined(user=c.user, role=c.role if group.members else "owner")


def remove(group: Group, caller: Member | None, c: RemoveMember) -> MemberRemoved | Rejection | Unchanged:
    """Nobody removes an equal, but an authority removes anyone: then the event names the next owner."""
    victim = group.members.get(c.user)
    if victim is None:
        if not c.ban:
            return Rejection("not_a_member", "this user is not a member")
        return Unchanged() if c.user in group.banned else MemberRemoved(user=c.user, banned=True)
    if caller is not None and RANK[victim.role] >= RANK[caller.role]:
        return Rejection("forbidden", "nobody removes someone of an equal or higher role")
    heir = _heir(group, c.user) if victim.role == "owner" else None
    return MemberRemoved(user=c.user, banned=c.ban, owner=heir)


def unban(group: Group, c: Unban) -> MemberUnbanned | Unchanged:
    """Let the banned in again; they are no members by it."""
    return MemberUnbanned(user=c.user) if c.user in group.banned else Unchanged()


def set_role(group: Group, caller: Member | None, c: SetRole) -> MemberRoleChanged | Rejection | Unchanged:
    """The owner gives every role; an admin `reader` and `member`, to members below and to itself."""
    if caller is not None and caller.role != "owner" and RANK[c.role] > RANK["member"]:
        return Rejection("forbidden", "an admin gives the roles reader and member only")
    member = group.members.get(c.user)
    if member is None:
        return Rejection("not_a_member", "this user is not a member")
    if caller is not None and c.user != c.by and RANK[member.role] >= RANK[caller.role]:
        return Rejection("forbidden", "nobody changes the role of someone of an equal or higher role")
    if member.role == c.role:
        return Unchanged()
    if member.role == "owner":
        return Rejection("last_owner", "the owner must first transfer the ownership")
    former = owner_of(group) if c.role == "owner" else None
    return MemberRoleChanged(user=c.user, role=c.role, former=former)


def _heir(group: Group, leaving: str) -> str | None:
    """Who owns the group after an authority removed the owner: the longest-standing admin, else member."""
    rest = [(-RANK[m.role], m.joined, m.place, user) for user, m in group.members.items() if user != leaving]
    return min(rest)[3] if rest else None
