"""Who is online in the groups of a partition: soft state of its owner, told by gateways (design §5, docs/adr/025)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from agents.announcements import Announcements
from app.presence import LEASE_S, Announcement, Change, Report, Word

# A sweep that is so late comes from a loop that stood still, which heard nobody meanwhile.
LATE_S = 1.0

_nobody: Mapping[str, int] = {}


@dataclass(slots=True)
class _Lease:
    """What one gateway has told: the users of each group with the legacy channel opened last.

    `unconfirmed`: of the whole state that is being told, those held from before who did not come yet; else None.
    """

    number: int = 0
    heard_at: float = 0.0
    groups: dict[str, dict[str, str | None]] = field(default_factory=dict)
    unconfirmed: set[tuple[str, str]] | None = None


class PartitionPresence:
    """One partition's gateways and their users. Times are the caller's, in seconds, and only grow.

    A user is online while any gateway says so. Reports of a gateway build on each other by their numbers, so one that
    comes late, or twice, undoes nothing that is newer.
    """

    def __init__(self, now: float) -> None:
        self.announced = 0  # how many announcements were taken: what an answer tells is what comes after so many
        self._swept_at = now
        self._leases: dict[str, _Lease] = {}
        self._online: dict[str, dict[str, int]] = {}  # by how many gateways
        self._announcements = Announcements(self.online)

    def online(self, group: str) -> Collection[str]:
        """Those who are online in a group, in the order of coming."""
        return self._online.get(group, _nobody).keys()

    def show(self, group: str) -> Collection[str]:
        """As `online`, for an answer: who was told of somebody will be told of the end, however soon it comes."""
        self._announcements.shown(group)
        return self.online(group)

    def report(self, gateway: str, report: Report, now: float) -> Word:
        """Take in what a gateway reports of this partition."""
        lease = self._leases.get(gateway)
        if lease is not None and report.number == lease.number:
            lease.heard_at = now  # its answer was lost
            return "ok"
        if report.since == 0:
            if lease is None:
                lease = self._leases[gateway] = _Lease()
            elif report.number < lease.number:
                return "again"
            lease.unconfirmed = {(group, user) for group, users in lease.groups.items() for user in users}
        elif lease is None or lease.number != report.since:
            return "again"
        for change in report.changes:
            self._apply(lease, change, now)
        if lease.unconfirmed is not None and report.last:
            gone, lease.unconfirmed = lease.unconfirmed, None
            for group, user in gone:
                self._apply(lease, Change(group, user, online=False), now)
        lease.number, lease.heard_at = report.number, now
        return "ok"

    def sweep(self, now: float) -> None:
        """Let go the users of gateways that are silent for too long."""
        paused_s = now - self._swept_at
        self._swept_at = now
        if paused_s >= LATE_S:
            for lease in self._leases.values():
                lease.heard_at = min(now, lease.heard_at + paused_s)
        for gateway, lease in list(self._leases.items()):
            if now - lease.heard_at >= LEASE_S:
                del self._leases[gateway]
                for group, users in list(lease.groups.items()):
                    for user in users:
                        self._end(group, user, now)

    def due(self, now: float) -> list[Announcement]:
        """Take what is to be announced now, each under the next number."""
        taken = self._announcements.due(now)
        self.announced += len(taken)
        return taken

    def undelivered(self, announcement: Announcement, now: float) -> None:
        """An announcement was lost. A channel that has ended since is not told again: it would replace a newer one."""
        still = [
            (user, channel) for user, channel in announcement.again if self._holds(announcement.group, user, channel)
        ]
        self._announcements.undelivered(msgspec.structs.replace(announcement, again=still), now)

    def _holds(self, group: str, user: str, channel: str) -> bool:
        return any(lease.groups.get(group, {}).get(user) == channel for lease in self._leases.values())

    def _apply(self, lease: _Lease, change: Change, now: float) -> None:
        group, user = change.group, change.user
        if lease.unconfirmed is not None:
            lease.unconfirmed.discard((group, user))
        users = lease.groups.get(group)
        if not change.online:
            if users is not None and user in users:
                del users[user]
                if not users:
                    del lease.groups[group]
                self._end(group, user, now)
            return
        if users is None:
            users = lease.groups[group] = {}
        is_new = user not in users
        opened = change.channel is not None and change.channel != users.get(user)
        users[user] = change.channel
        if is_new:
            self._begin(group, user, now)
        if opened:
            assert change.channel is not None
            self._announcements.opened(group, user, change.channel, now)

    def _begin(self, group: str, user: str, now: float) -> None:
        users = self._online.setdefault(group, {})
        users[user] = users.get(user, 0) + 1
        if users[user] == 1:
            self._announcements.changed(group, user, before=False, now=now)

    def _end(self, group: str, user: str, now: float) -> None:
        users = self._online[group]
        users[user] -= 1
        if not users[user]:
            del users[user]
            if not users:
                del self._online[group]
            self._announcements.changed(group, user, before=True, now=now)
