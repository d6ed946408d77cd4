"""What is known here of one group's presence, and what of it clients here were told (docs/adr/025)."""

import math
from collections.abc import Callable, Iterable
from itertools import islice

from app.presence import LARGE, LATELY_S, NAMES, Announcement
from app.reads import ONLINE_NAMES
from web.presence_change import PresenceChange

FRAME_S = 1.05  # between two frames of a large group: a second for clients whose network is uneven, too
CONFIRM_S = 5.0  # how long a new owner's gateways have to say who is online

# (epoch, number): where an announcement stands among all of its partition.
Place = tuple[int, int]


class GroupView:
    """Announcements in, changes for sockets out. Times are the caller's, in seconds.

    Only what differs from what was told is told, so an announcement that repeats what is known says nothing. It has
    `begun` with an owner's answer; what is announced before is kept, and holds for what the answer is older than.
    A user with a socket here (`is_here`) never leaves by hearsay: the owner may have missed it for a while.
    """

    __slots__ = (
        "_again",
        "_channels",
        "_confirm_by",
        "_due",
        "_early",
        "_epoch",
        "_framed_at",
        "_group",
        "_heard",
        "_is_here",
        "_large_until",
        "_opened",
        "_ours",
        "_partial",
        "_place",
        "_told",
        "_unconfirmed",
        "begun",
    )

    def __init__(self, group: str, epoch: int, is_here: Callable[[str], bool]) -> None:
        self.begun = False
        self._group = group
        self._is_here = is_here
        self._epoch = epoch
        self._place: Place = (-1, 0)  # what stands before it is in the answer
        self._heard: Place = (-1, 0)  # the last one that was read
        self._early: dict[str, tuple[Place, bool]] = {}
        self._told: dict[str, bool] = {}  # whether the coming was shown here, else an answer began with it
        self._due: dict[str, bool] = {}
        self._again: dict[str, int] = {}  # how often
        self._opened: list[tuple[str, str]] = []
        self._channels: dict[str, str] = {}
        self._ours: set[str] = set()  # here, though the owner has not said so, or has said that they left
        self._unconfirmed: set[str] = set()
        self._confirm_by = math.inf
        self._partial = False  # there are more than are held: what is not known may be online all the same
        self._framed_at = -math.inf
        self._large_until = -math.inf

    @property
    def told(self) -> Iterable[str]:
        """The users who are online, as clients here know them."""
        return self._told.keys()

    @property
    def wants_online(self) -> bool:
        """Whether an owner's answer would tell something new."""
        return not self.begun or bool(self._unconfirmed)

    def begin(self, place: Place, online: list[str], now: float) -> None:
        """An owner's answer: who was online when so many announcements had been made."""
        self.advance(place[0], now)
        if self.begun:
            if place[0] == self._epoch:
                self._unconfirmed.difference_update(online)
            return
        self.begun = True
        self._place = place
        self._told = dict.fromkeys(online[:ONLINE_NAMES], False)
        self._partial = len(online) >= ONLINE_NAMES
        early, self._early = self._early, {}
        for user, (at, is_online) in early.items():
            if at > place:
                if is_online:
                    self._told[user] = False
                else:
                    self._told.pop(user, None)
        if place[0] < self._epoch:
            self._doubt(now)

    def refresh(self, place: Place, online: Iterable[str], here: Iterable[str]) -> None:
        """A further answer, and those with a socket here: whoever is told of them as well is told what all are told."""
        if self.begun and place[0] == self._epoch and place >= self._heard:
            for user in online:
                self._apply(user, is_online=True)
        for user in here:
            if user not in self._told and not self._due.get(user, False):
                self._ours.add(user)
                self._set(user, is_online=True)

    def is_turned_by(self, announcement: Announcement) -> bool:
        """Whether it takes back, or comes after, what is not told yet: told before, both are."""
        return any(self._due.get(user) is False for user in announcement.joined) or any(
            self._due.get(user) or user in self._again for user in announcement.left
        )

    def hear(self, place: Place, announcement: Announcement, now: float) -> None:
        """The next announcement of this group that was read."""
        if place[0] < self._epoch:
            return
        self.advance(place[0], now)
        self._heard = max(self._heard, place)
        if not self.begun:
            for user in announcement.joined:
                self._keep(user, place, is_online=True)
            for user in announcement.left:
                self._keep(user, place, is_online=False)
        elif place > self._place:
            for user in announcement.joined:
                self._apply(user, is_online=True)
            for user in announcement.left:
                self._apply(user, is_online=False)
        coming = set(announcement.joined)
        for user, channel in announcement.again:
            self._open(user, channel, is_coming=user in coming)

    def advance(self, epoch: int, now: float) -> None:
        """The partition has a new owner, who knows nobody: whoever is not confirmed in time has left."""
        if epoch > self._epoch:
            self._epoch = epoch
            self._doubt(now)

    def left_here(self, user: str) -> None:
        """The last socket of a user here is not subscribed any more."""
        if user in self._ours:
            self._ours.discard(user)
            self._set(user, is_online=False)

    def take(self, now: float) -> PresenceChange | None:
        """Take what is to be told now, if anything is."""
        if now >= self._confirm_by:
            self._give_up()
        if not self._due and not self._again and not self._opened:
            return None
        if now < self._frame_at(now):
            return None
        due = dict(islice(self._due.items(), NAMES))
        for user, is_online in due.items():
            del self._due[user]
            if not is_online:
                self._told.pop(user, None)
            elif len(self._told) < ONLINE_NAMES:
                self._told[user] = True
            else:
                self._partial = True
        again = dict(islice(self._again.items(), NAMES))
        for user in again:
            del self._again[user]
        opened, self._opened = tuple(self._opened), []
        self._framed_at = now
        joined = tuple(user for user, is_online in due.items() if is_online)
        left = tuple(user for user, is_online in due.items() if not is_online)
        anew = tuple(user for user, times in again.items() for _ in range(times))
        return PresenceChange(self._group, joined, left, anew, opened)

    def next_at(self, now: float) -> float:
        """When there will be something to take, as far as is known; infinite if there is nothing."""
        frame_at = self._frame_at(now) if self._due or self._again or self._opened else math.inf
        return min(frame_at, self._confirm_by)

    def _frame_at(self, now: float) -> float:
        coming = sum(self._due.values())
        if max(len(self._told), len(self._told) + 2 * coming - len(self._due)) > LARGE or self._partial:
            self._large_until = now + LATELY_S
        return self._framed_at + FRAME_S if now < self._large_until else now

    def _keep(self, user: str, place: Place, *, is_online: bool) -> None:
        if len(self._early) < ONLINE_NAMES or user in self._early:
            self._early[user] = (place, is_online)

    def _apply(self, user: str, *, is_online: bool) -> None:
        self._unconfirmed.discard(user)
        if is_online:
            self._ours.discard(user)
        elif self._is_here(user):
            self._ours.add(user)
            return
        self._set(user, is_online=is_online)

    def _set(self, user: str, *, is_online: bool) -> None:
        if not is_online:
            self._channels.pop(user, None)
            self._again.pop(user, None)
        if is_online == (user in self._told) and (is_online or not self._partial):
            self._due.pop(user, None)
        elif len(self._due) < ONLINE_NAMES or user in self._due:
            self._due[user] = is_online
        else:
            self._partial = True  # a signal may be dropped; what is held is bounded

    def _open(self, user: str, channel: str, *, is_coming: bool) -> None:
        """A legacy channel was opened, a further one unless it was the user's coming.

        Where an answer told of a user before, who is here now, it was another socket elsewhere that came.
        """
        known = self._channels.get(user)
        if known == channel:
            return
        if known is not None or len(self._channels) < ONLINE_NAMES:
            self._channels[user] = channel
        if not self.begun:
            return
        is_here = self._is_here(user)
        if is_here:
            self._opened.append((user, channel))
        if known is not None or not is_coming or (is_here and not self._told.get(user, True)):
            self._again[user] = self._again.get(user, 0) + 1

    def _doubt(self, now: float) -> None:
        self._unconfirmed = {*self._told, *(user for user, is_online in self._due.items() if is_online)}
        self._confirm_by = now + CONFIRM_S if self._unconfirmed else math.inf

    def _give_up(self) -> None:
        unconfirmed, self._unconfirmed, self._confirm_by = self._unconfirmed, set(), math.inf
        for user in unconfirmed:
            self._apply(user, is_online=False)
