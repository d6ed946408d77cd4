"""An old socket's subscription to its one group: the same run of events that new sockets get (protocol §4, §9)."""

import asyncio
from collections.abc import Callable

from app.domain.outcomes import Rejection
from app.reads import Answer, AnyRead, ReadEvents, ReadSubscription
from web.conversation import Service
from web.legacy.outbox import LegacyOutbox
from web.presence_change import PresenceChange
from web.subscription import Subscription
from web.subscriptions import REPLAY_PAGE_S

# What an owner refuses to those who are no members.
OUTSIDE = frozenset({"no_such_group", "banned", "not_a_member"})

OnPresence = Callable[[PresenceChange], None]


class LegacySubscription(Subscription):
    """A subscription whose presence is told in other words. It is never written to by the hub, hence no `on_front`."""

    on_change: OnPresence

    def on_presence(self, change: PresenceChange) -> None:
        """Who came and went."""
        self.on_change(change)


class Following:
    """The one subscription of a socket, from its question to its end."""

    def __init__(
        self,
        service: Service,
        group: str,
        user: str,
        outbox: LegacyOutbox,
        *,
        on_end: Callable[[bool], None],
        on_presence: OnPresence,
    ) -> None:
        """`on_end` is called when the run ends by itself: with True when the membership or the group ended."""
        self._service = service
        self._group = group
        self._user = user
        self._on_end = on_end
        self._subscription = LegacySubscription(
            group,
            user,
            outbox,
            fetch=self._fetch,
            pages=asyncio.Semaphore(1),
            on_end=lambda _, why: self._ended(why),
        )
        self._subscription.on_change = on_presence

    async def ask(self, deadline: float) -> Answer | Rejection:
        """Register with the hub, then ask where the run begins: in this order nothing falls between (design I9).

        Raises:
            UnavailableError: no owner answered by `deadline` (the loop's time).
        """
        presence = self._service.presence

        def make(end: int) -> AnyRead:
            wanted = presence.is_wanted(self._group)
            return ReadSubscription(group=self._group, user=self._user, end=end, state=False, online=wanted)

        self._service.hub.follow(self._group.encode(), self._subscription)
        answer = await self._service.reads.ask(self._group, make, deadline)
        if answer.refusal is not None:
            return answer.refusal
        presence.learn(self._group, answer)
        return answer

    def begin(self, answer: Answer) -> None:
        """From now on, and from the answer's head on, events are written."""
        self._subscription.begin(answer)

    def end(self) -> None:
        """Leave the hub; nothing happens a second time."""
        self._subscription.end()
        self._service.hub.unfollow(self._group.encode(), self._subscription)

    async def _fetch(self, after: int, through: int) -> Answer:
        def make(end: int) -> AnyRead:
            return ReadEvents(group=self._group, user=self._user, end=end, after=after, through=through)

        deadline = asyncio.get_running_loop().time() + REPLAY_PAGE_S
        return await self._service.reads.ask(self._group, make, deadline)

    def _ended(self, why: str | None) -> None:
        self.end()
        self._on_end(why is None or why in OUTSIDE)
