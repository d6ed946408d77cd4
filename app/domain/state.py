"""A group's state: the fold of its events, as far as decisions need it.

Messages are not here: the one a command refers to comes to `decide` as a `Target`, so that the
cost of a decision does not grow with the history. A group's owner is the only holder of its state.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role

RANK: dict[Role, int] = {"reader": 0, "member": 1, "admin": 2, "owner": 3}

# What `evolve` changed, for the tables, beside seq and instant: ("head",) for the rest of the group itself,
# ("rule", seq), ("member", user), ("ban", user), ("past", user, from) or ("sent", user, client_msg_id).
Part = tuple[str, ...]


@dataclass(slots=True)
class Member:
    """A membership that lasts: the role, the seq of the event that began it, and the place among those it named."""

    role: Role
    joined: int
    place: int = 0


class Sent(msgspec.Struct, frozen=True, gc=False):
    """An accepted `client_msg_id`: the event it became, and a digest of what was asked."""

    seq: int
    at_ms: int
    digest: str


@dataclass(slots=True, frozen=True)
class Target:
    """The message that a command refers to; `by` None where an authority posted it.

    `reacted`: the command's caller has reacted to it with the command's emoji.
    """

    seq: int
    by: str | None
    deleted: bool = False
    reacted: bool = False


@dataclass(slots=True)
class Group:
    """State at `seq` (0: no event yet). `first` is the seq of the current life's `group.created`.

    `rules` are the history rules of this life, each from its seq on; `past` the ended memberships of
    each user as (from, through), both needed to say who may read what (protocol §2). Messages up to
    `pruned` are no longer served.
    """

    id: str
    seq: int = 0
    first: int = 0
    life: Literal["none", "alive", "deleted"] = "none"
    name: str = ""
    topic: str = ""
    join: JoinRule = "invite"
    at_ms: int = 0
    pruned: int = 0
    rules: list[tuple[int, HistoryRule]] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    past: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    touched: set[Part] = field(default_factory=set)

    @property
    def history(self) -> HistoryRule:
        """The history rule in force."""
        return self.rules[-1][1] if self.rules else "all"

    def take_touched(self) -> set[Part]:
        """The parts changed since this was last asked."""
        touched, self.touched = self.touched, set()
        return touched


def owner_of(group: Group) -> str | None:
    """The owner; None for a group without members."""
    return next((user for user, member in group.members.items() if member.role == "owner"), None)


def _since(rule: tuple[int, HistoryRule]) -> int:
    return rule[0]


def readable(group: Group, user: str, seq: int) -> bool:
    """Whether `user`, a member, may read the event `seq` of this life.

    The rule in force when the event was written holds for it; one's own joining and leaving are readable.
    """
    place = bisect_right(group.rules, seq, key=_since)
    if place == 0 or group.rules[place - 1][1] == "all":
        return True
    member = group.members.get(user)
    if member is not None and seq >= member.joined:
        return True
    return any(since <= seq <= through for since, through in group.past.get(user, ()))
