"""One socket's subscriptions: registered with the hub before their first question, replaced and ended as asked."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from app.domain.outcomes import Rejection
from app.reads import Answer, AnyRead, ReadEvents, ReadSubscription
from web import frames
from web.hub import Hub
from web.outbox import Outbox
from web.presence import Presence
from web.reads_client import ReadPort
from web.requests import LOG_CHARS, Subscribe
from web.subscription import Fetch, Subscription

REPLAYING_PAGES = 4
REPLAY_PAGE_S = 30.0

TOO_MANY = Rejection("too_many_groups", f"a socket follows at most {frames.GROUPS} groups")

Prepared = tuple[Subscription, Answer] | Rejection


class Subscriptions:
    """At most one subscription a group, and those whose request is not answered yet.

    `asking` bounds the reads of the socket that are answered at a time. `on_broken` is called when a run cannot go
    on unbroken: the socket is to be closed with 4409.
    """

    def __init__(
        self,
        hub: Hub,
        reads: ReadPort,
        presence: Presence,
        *,
        user: str,
        outbox: Outbox,
        asking: asyncio.Semaphore,
        on_broken: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._reads = reads
        self._presence = presence
        self._user = user
        self._outbox = outbox
        self._asking = asking
        self._on_broken = on_broken
        self._pages = asyncio.Semaphore(REPLAYING_PAGES)
        self._established: dict[str, Subscription] = {}
        self._following: dict[Subscription, None] = {}

    @property
    def busy(self) -> bool:
        """Whether replays wait for this socket's reader already: a further page had better be fetched later."""
        return self._pages.locked()

    async def prepare(self, ask: Subscribe, deadline: float) -> Prepared:
        """Register with the hub, then ask where the run begins: in this order nothing falls between (design I9).

        Raises:
            UnavailableError: no owner answered by `deadline` (the loop's time).
        """
        # Many reads travel to an owner in one body of bounded size: this one must not crowd out the others'.
        log = None if ask.log is None else ask.log[:LOG_CHARS]

        def make(end: int) -> AnyRead:
            return ReadSubscription(
                group=ask.group,
                user=self._user,
                end=end,
                after=ask.after,
                last=ask.last,
                log=log,
                state=ask.state,
                online=self._presence.is_wanted(ask.group),
            )

        subscription = Subscription(
            ask.group,
            self._user,
            self._outbox,
            fetch=self._fetch(ask.group),
            pages=self._pages,
            on_end=self._on_end,
            on_front=self._hub.advance,
        )
        async with self._asking:  # who waits to be asked for follows nothing yet
            self._following[subscription] = None
            self._hub.follow(ask.group.encode(), subscription)
            try:
                answer = await self._reads.ask(ask.group, make, deadline)
            except BaseException:
                self._drop(subscription)
                raise
        if answer.refusal is not None:
            self._drop(subscription)
            return answer.refusal
        self._presence.learn(ask.group, answer)
        return subscription, answer

    def admit(self, prepared: list[Prepared]) -> list[Prepared]:
        """What was prepared, in this order, as far as the socket may follow that many groups.

        It comes last of all checks (protocol §9): what the owner refuses takes no place, and what is followed already
        needs none. What is admitted must be established before anything else happens.
        """
        room = frames.GROUPS - len(self._established)
        admitted: list[Prepared] = []
        for each in prepared:
            if isinstance(each, tuple) and each[0].group not in self._established:
                room -= 1
                if room < 0:
                    self._drop(each[0])
                    admitted.append(TOO_MANY)
                    continue
            admitted.append(each)
        return admitted

    def establish(self, subscription: Subscription, answer: Answer) -> None:
        """Follow up the reply that was just written; an earlier subscription to the group ends here."""
        self._presence.enter(subscription.group, self._user)  # first: who subscribes again has not left
        self.end(subscription.group)
        self._established[subscription.group] = subscription
        subscription.begin(answer)

    def end(self, group: str) -> None:
        """End the subscription to a group, if there is one."""
        subscription = self._established.pop(group, None)
        if subscription is not None:
            self._presence.leave(group, self._user)
            self._drop(subscription)

    def end_all(self) -> None:
        """Leave the hub."""
        for group in self._established:
            self._presence.leave(group, self._user)
        for subscription in list(self._following):
            self._drop(subscription)
        self._established.clear()

    def _fetch(self, group: str) -> Fetch:
        async def fetch(after: int, through: int) -> Answer:
            def make(end: int) -> AnyRead:
                return ReadEvents(group=group, user=self._user, end=end, after=after, through=through)

            return await self._reads.ask(group, make, asyncio.get_running_loop().time() + REPLAY_PAGE_S)

        return fetch

    def _on_end(self, subscription: Subscription, why: str | None) -> None:
        """A subscription ended by itself: the membership ended (None), or its run broke."""
        if self._established.get(subscription.group) is subscription:
            del self._established[subscription.group]
            self._presence.leave(subscription.group, self._user)
        self._drop(subscription)
        if why is not None:
            self._on_broken()

    def _drop(self, subscription: Subscription) -> None:
        subscription.end()
        self._following.pop(subscription, None)
        self._hub.unfollow(subscription.group.encode(), subscription)


def without_page(answer: Answer) -> Answer:
    """The answer without its first page of events: it is fetched again when its turn comes."""
    return msgspec.structs.replace(answer, frames=[], through=0)


def begins(group: str, answer: Answer) -> dict[str, Any]:
    """Where a subscription begins, as its reply says it (protocol §4)."""
    return {"group": group, "seq": answer.seq, "from": answer.start, "recovered": answer.recovered}
