"""Who is online in the groups that are followed here (protocol §5, design §5, docs/adr/025).

What sockets here tell of their users goes to the groups' owners (`presence_reporter`). What owners announce changes the
views of the groups that somebody here follows (`presence_views`), and what is new in it goes to the followers.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from app.owners import Owners
from app.presence import NAMES, Announcement
from app.reads import ONLINE_NAMES, Answer, ReadPresence, StateView
from app.telemetry import logger
from web import metrics
from web.presence_change import PresenceChange
from web.presence_reporter import Post, Reporter
from web.presence_views import Views
from web.reads_client import ReadPort, UnavailableError

__all__ = ["Presence", "PresenceChange"]

ASK_S = 10.0

_log = logger("web")


class Presence:
    """What sockets tell of their users, and what they are told of others.

    Who follows a group through the hub asks its owner for `online` with the first question where that `is_wanted`, and
    gives the answer to `learn`. From then on changes come to the group's followers.
    """

    def __init__(
        self,
        *,
        signal: Callable[[PresenceChange], None],
        owners: Owners,
        post: Post,
        gateway: str,
        partitions: int,
        epoch: Callable[[int], int],
    ) -> None:
        """`signal` gives a change to a group's followers; `epoch` is the highest claim read of a partition."""
        self._owners = owners
        self._sockets: dict[str, dict[str, int]] = {}  # by group and user
        self._epoch = epoch
        self._signal = signal
        self._reporter = Reporter(owners, post, gateway=gateway, partitions=partitions)
        self._views = Views(
            partitions=partitions, signal=self._give, is_here=self._reporter.is_here, epoch=self._highest
        )
        self._reads: ReadPort | None = None
        self._asking: dict[str, asyncio.Task[None]] = {}
        owners.listen(self._on_owner)

    def ask_through(self, reads: ReadPort) -> None:
        """How owners are asked for what no answer told by the way."""
        self._reads = reads

    async def run(self) -> None:
        """Report to owners until cancelled."""
        try:
            await self._reporter.run()
        finally:
            asking = list(self._asking.values())
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def close(self) -> None:
        """Tell nobody here anything more, and the owners that everybody here is gone; it takes a second at most."""
        self._views.close()
        await self._reporter.close()

    # Sockets

    def enter(self, group: str, user: str, channel: str | None = None) -> None:
        """A socket of `user` here is subscribed to `group` from now on.

        `channel`: its session id, if it is one of the replaced service's protocol.
        """
        users = self._sockets.setdefault(group, {})
        count = users.get(user, 0)
        users[user] = count + 1
        if not count or channel is not None:
            self._reporter.enter(group, user, channel)
        view = self._views.get(group)
        if view is not None and not view.begun:
            self._ask(group)

    def leave(self, group: str, user: str, channel: str | None = None) -> None:  # noqa: ARG002 - as it had entered
        """A socket that had entered is not subscribed any more."""
        users = self._sockets.get(group, {})
        count = users.pop(user, 0)
        if count > 1:
            users[user] = count - 1
        elif count:
            if not users:
                del self._sockets[group]
            self._reporter.leave(group, user)
            self._views.left_here(group, user)

    def told(self, group: str) -> list[str]:
        """The users who are online, as this gateway's clients know them; none where nobody follows the group."""
        view = self._views.get(group)
        return [] if view is None else list(view.told)

    def state_of(self, answer: Answer, group: str, user: str | None = None) -> StateView | None:
        """An owner's state, if it has told one, with whom clients here know: the signals to come continue it.

        `user`: who is online from now on, with this answer. The answer is to be learnt before.
        """
        state, view = answer.state, self._views.get(group)
        if state is None or state.online is msgspec.UNSET:
            return state
        known = view is not None and view.begun
        online: Iterable[str] = view.told if view is not None and known else state.online
        asker = () if user is None else (user,)
        names = list(islice(dict.fromkeys((*asker, *islice(online, NAMES + 1))), NAMES + 1))
        more = len(names) > NAMES or (not known and state.online_more is True)
        return msgspec.structs.replace(state, online=names[:NAMES], online_more=True if more else msgspec.UNSET)

    async def heard(self, group: str, deadline: float) -> None:
        """Wait until the group's owner has heard what is to be told of the users here.

        Raises:
            UnavailableError: it had not by `deadline` (the loop's time).
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._reporter.heard(group)
        except TimeoutError:
            raise UnavailableError(group) from None

    # The hub

    def on_followed(self, group: str, is_followed: bool) -> None:
        """Somebody here follows a group from now on, or nobody does any more."""
        if is_followed:
            self._views.follow(group)
        else:
            self._views.unfollow(group)

    def is_wanted(self, group: str) -> bool:
        """Whether the next answer of the group's owner should tell who is online."""
        view = self._views.get(group)
        return view is not None and view.wants_online

    def learn(self, group: str, answer: Answer) -> None:
        """The answer to who wanted to know who is online."""
        if answer.online is not None:
            self._views.begin(group, (answer.epoch, answer.announced), answer.online)
        self.show(group, answer)

    def show(self, group: str, answer: Answer) -> None:
        """An owner's answer that names some who are online: what one client is told, all are."""
        place = (answer.epoch, answer.announced)
        online = answer.online if answer.state is None or answer.state.online is msgspec.UNSET else answer.state.online
        self._views.refresh(group, place, online or (), self._sockets.get(group, ()))

    # The log

    def hear(self, partition: int, place: tuple[int, int], announcement: Announcement) -> bool:
        """An announcement was read; False if it is void: an earlier owner's, who does not know that it is one."""
        if place[0] < self._highest(partition):
            return False
        self._views.hear(place, announcement)
        return True

    def _on_owner(self, partition: int) -> None:
        self._views.advance(partition, self._highest(partition))
        self._reporter.on_owner(partition)

    def _highest(self, partition: int) -> int:
        owner = self._owners.get(partition)
        return max(self._epoch(partition), owner.epoch if owner is not None else -1)

    def _give(self, change: PresenceChange) -> None:
        metrics.PRESENCE_FRAMES.inc()
        self._signal(change)

    def _ask(self, group: str) -> None:
        """Ask who is online, where no answer has told it: who follows gets no changes until then."""
        if self._reads is None or group in self._asking:
            return
        task = asyncio.get_running_loop().create_task(self._begin(self._reads, group))
        self._asking[group] = task
        task.add_done_callback(lambda _: self._asking.pop(group, None))

    async def _begin(self, reads: ReadPort, group: str) -> None:
        def make(end: int) -> ReadPresence:
            return ReadPresence(group=group, user=None, end=end, limit=ONLINE_NAMES)

        try:
            self.learn(group, await reads.ask(group, make, asyncio.get_running_loop().time() + ASK_S))
        except UnavailableError:
            pass  # the next one who comes asks again
        except Exception:  # noqa: BLE001 - an edge: presence is soft
            metrics.ERRORS.labels("presence").inc()
            _log.exception("an owner could not be asked who is online")
