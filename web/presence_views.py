"""The views of all groups that are followed here: fed by the log, and telling followers in time (docs/adr/025)."""

import asyncio
from collections.abc import Callable, Iterable

from app.kafka.partition import partition_for
from app.presence import Announcement
from web.presence_change import PresenceChange
from web.presence_view import GroupView, Place


class Views:
    """`signal` gives a change to a group's followers; `is_here` says whether a user has a socket here in a group;
    `epoch` gives the highest claim known of a partition.
    """

    def __init__(
        self,
        *,
        partitions: int,
        signal: Callable[[PresenceChange], None],
        is_here: Callable[[str, str], bool],
        epoch: Callable[[int], int],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._signal = signal
        self._is_here = is_here
        self._epoch = epoch
        self._views: list[dict[str, GroupView]] = [{} for _ in range(partitions)]
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._touched: set[str] = set()

    def follow(self, group: str) -> None:
        """Somebody here follows the group from now on: what is announced in it counts."""
        partition = self._partition(group)
        view = GroupView(group, self._epoch(partition), lambda user: self._is_here(group, user))
        self._views[partition][group] = view

    def unfollow(self, group: str) -> None:
        """Nobody here follows the group any more."""
        self._views[self._partition(group)].pop(group, None)
        self._touched.discard(group)
        if (timer := self._timers.pop(group, None)) is not None:
            timer.cancel()

    def get(self, group: str) -> GroupView | None:
        """The group's view, if it is followed here."""
        return self._views[self._partition(group)].get(group)

    def begin(self, group: str, place: Place, online: list[str]) -> None:
        """An owner said who is online; `place`: its claim, and how many announcements it had made in the partition."""
        if (view := self.get(group)) is not None:
            view.begin(place, online, self._loop.time())

    def refresh(self, group: str, place: Place, online: Iterable[str], here: Iterable[str]) -> None:
        """An owner named some who are online, and some are `here`: whoever follows hears of them at once."""
        if (view := self.get(group)) is not None and view.begun:
            view.refresh(place, online, here)
            self._tell(group)

    def hear(self, place: Place, announcement: Announcement) -> None:
        """The next announcement that was read."""
        if (view := self.get(announcement.group)) is not None:
            if view.is_turned_by(announcement):
                self._tell(announcement.group)
            view.hear(place, announcement, self._loop.time())
            self._touch([announcement.group])

    def left_here(self, group: str, user: str) -> None:
        """The last socket of a user here is not subscribed to the group any more."""
        if (view := self.get(group)) is not None:
            view.left_here(user)
            self._touch([group])

    def advance(self, partition: int, epoch: int) -> None:
        """The partition has a new owner."""
        now = self._loop.time()
        views = self._views[partition]
        for view in views.values():
            view.advance(epoch, now)
        self._touch(views)

    def close(self) -> None:
        """Tell nobody anything more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._views = [{} for _ in self._views]

    def _partition(self, group: str) -> int:
        return partition_for(group.encode(), len(self._views))

    def _touch(self, groups: Iterable[str]) -> None:
        """Look at these groups when the loop turns: what one batch of the log says of a group leaves together."""
        if not self._touched:
            self._loop.call_soon(self._tell_touched)
        self._touched.update(groups)

    def _tell_touched(self) -> None:
        touched, self._touched = self._touched, set()
        for group in touched:
            self._tell(group)

    def _tell(self, group: str) -> None:
        if (timer := self._timers.pop(group, None)) is not None:
            timer.cancel()
        view = self.get(group)
        if view is None:
            return
        change = view.take(self._loop.time())
        if change is not None:
            self._signal(change)
        at = view.next_at(self._loop.time())
        if at != float("inf"):
            self._timers[group] = self._loop.call_at(at, self._tell, group)
