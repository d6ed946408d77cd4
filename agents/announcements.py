"""What an owner has to announce of its groups' presence, merged and paced (protocol §5, docs/adr/025)."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from app.presence import LARGE, LATELY_S, NAMES, Announcement

MERGE_S = 0.1
# For a large group. Above the second that its members are promised: gateways, whose clocks are others, then have no
# two of them within one.
LARGE_S = 1.1
# Who comes and goes more often than so within `MERGE_S` is told of as what it comes to.
ROUNDS = 8


@dataclass(slots=True)
class _Round:
    """Changes that are announced together, at most one of a user.

    `before`: what was announced last of those who changed, None where that is not known; `again`: (user, channel) of
    the legacy channels that were opened, in their order; `after`: of those users, who was online when the round closed,
    None while it is open.
    """

    before: dict[str, bool | None] = field(default_factory=dict)
    again: dict[tuple[str, str], None] = field(default_factory=dict)
    after: set[str] | None = None

    def names(self, user: str) -> bool:
        """Whether it tells something of the user."""
        return user in self.before or any(user == name for name, _ in self.again)

    def close(self, online: Collection[str], leaving: str) -> None:
        """Take no more changes: `leaving` was online until now, the others are as they are."""
        users = {*self.before, *(name for name, _ in self.again)}
        self.after = {name for name in users if name == leaving or name in online}


@dataclass(slots=True)
class _Group:
    """`rounds` are announced one after another, the last one is open."""

    rounds: deque[_Round] = field(default_factory=lambda: deque([_Round()]))
    since: float = math.inf  # when the first of the changes came
    announced_at: float = -math.inf
    large_until: float = -math.inf


class Announcements:
    """The changes of all groups of a partition that are not announced yet.

    `online` gives those who are online in a group. Who goes and is back before it is announced was never away. Who
    comes and is gone is announced as both, one after the other, but in a large group: old apps are told of everybody
    who connects (protocol §8).
    """

    def __init__(self, online: Callable[[str], Collection[str]]) -> None:
        self._online = online
        self._groups: dict[str, _Group] = {}

    def changed(self, group: str, user: str, *, before: bool | None, now: float) -> None:
        """A user came or went; `before`: whether the user was online until now, None to announce it in any case."""
        of = self._of(group, now)
        if before is None:
            of.rounds[-1].before[user] = None
            return
        if before and now >= of.large_until and len(of.rounds) < ROUNDS and of.rounds[-1].names(user):
            of.rounds[-1].close(self._online(group), user)
            of.rounds.append(_Round())
        of.rounds[-1].before.setdefault(user, before)

    def opened(self, group: str, user: str, channel: str, now: float) -> None:
        """A user opened a legacy channel."""
        self._of(group, now).rounds[-1].again[user, channel] = None

    def shown(self, group: str) -> None:
        """Somebody was told who is online in a group: what is not announced yet is announced, changed back or not."""
        of = self._groups.get(group)
        if of is not None:
            for each in of.rounds:
                each.before = dict.fromkeys(each.before)

    def undelivered(self, announcement: Announcement, now: float) -> None:
        """An announcement was lost: what it told is told again as it is by then, and before what was opened since."""
        for user in (*announcement.joined, *announcement.left):
            self.changed(announcement.group, user, before=None, now=now)
        if announcement.again:
            first = self._of(announcement.group, now).rounds[0]
            first.again = {**dict.fromkeys(announcement.again), **first.again}

    def due(self, now: float) -> list[Announcement]:
        """Take what is to be announced now."""
        taken: list[Announcement] = []
        for name, group in list(self._groups.items()):
            if self._is_due(name, group, now):
                announcements = list(self._take(name, group))
                if announcements:
                    group.announced_at = now
                taken += announcements
            if group.since == math.inf and now >= max(group.announced_at + LARGE_S, group.large_until):
                del self._groups[name]
        return taken

    def _of(self, name: str, now: float) -> _Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        group.since = min(group.since, now)
        self._measure(name, group, now)
        return group

    def _measure(self, name: str, group: _Group, now: float) -> None:
        if len(self._online(name)) > LARGE:
            group.large_until = now + LATELY_S

    def _is_due(self, name: str, group: _Group, now: float) -> bool:
        if now < group.since + MERGE_S:
            return False
        self._measure(name, group, now)
        return now >= group.large_until or now >= group.announced_at + LARGE_S

    def _take(self, name: str, group: _Group) -> Iterator[Announcement]:
        rounds, group.rounds, group.since = group.rounds, deque([_Round()]), math.inf
        for each in rounds:
            yield from _announcements(name, each, self._online(name) if each.after is None else each.after)


def _announcements(group: str, of: _Round, online: Collection[str]) -> Iterator[Announcement]:
    """What a round comes to, where these were `online` at its end."""
    joined = [user for user, before in of.before.items() if user in online and before is not True]
    left = [user for user, before in of.before.items() if user not in online and before is not False]
    again = [(user, channel) for user, channel in of.again if user in online]
    coming, going, opening = iter(joined), iter(left), iter(again)
    while True:
        some = Announcement(
            group=group,
            kind="presence",
            joined=list(islice(coming, NAMES)),
            left=list(islice(going, NAMES)),
            again=list(islice(opening, NAMES)),
        )
        if not some.joined and not some.left and not some.again:
            return
        yield some
