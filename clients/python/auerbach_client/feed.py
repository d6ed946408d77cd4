"""The feed: all subscriptions of a client, asked for on each connection and fed from its frames."""

import asyncio
import itertools
import logging
from typing import Any

import msgspec

from auerbach_client.backoff import Backoff
from auerbach_client.errors import ChatError, EndedError
from auerbach_client.frames import Event, Presence, Reply, Started, Withheld, encode
from auerbach_client.link import Link
from auerbach_client.requests import to_error
from auerbach_client.subscription import Phase, Subscription

# `subscribe` takes so many groups at once (protocol §4).
_BATCH = 100
# How long a full queue may hold up the socket before its group is let go.
_PATIENCE_S = 1.0

_log = logging.getLogger("auerbach_client")


class Feed:
    """Subscriptions by group. Its requests have keys `s1`, `s2`, …, apart from those of `Requests`."""

    def __init__(self, link: Link, *, retry: Backoff, timeout_s: float) -> None:
        self._link = link
        self._retry = retry
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._subscriptions: dict[str, Subscription] = {}
        self._asked: dict[str, list[Subscription]] = {}
        self._next: list[Subscription] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._log_id = ""
        self._user = ""
        self._ended: EndedError | None = None
        self._hurried = asyncio.Event()

    def subscribe(
        self, group: str, *, after: int | None, last: int | None, log: str | None, state: bool, queue_events: int
    ) -> Subscription:
        """A new subscription, not yet asked for.

        Raises:
            ValueError: both `after` and `last`, or the group is subscribed to already.
        """
        if after is not None and last is not None:
            raise ValueError("after and last exclude each other")
        if group in self._subscriptions:
            raise ValueError(f"subscribed to {group!r} already")
        made = Subscription(
            group, after=after, last=last, log=log, with_state=state, queue_events=queue_events, source=self
        )
        self._subscriptions[group] = made
        return made

    def hurry(self) -> None:
        """A reply is waited for: a full queue must not hold up the socket."""
        self._hurried.set()

    def connected(self, log: str, user: str) -> None:
        """A new connection: ask again for all that are wanted, a hundred at a time."""
        self._log_id, self._user = log, user
        self._asked.clear()
        self._next.clear()
        wanted = [each for each in self._subscriptions.values() if each.phase in {Phase.LIVE, Phase.WANTED}]
        for subscription in wanted:
            subscription.phase = Phase.WANTED
        self._ask_all(wanted)

    def answered(self, reply: Reply) -> None:
        """The reply to a `subscribe`; its run follows at once, so this must not wait."""
        asked = self._asked.pop(reply.id, None) if isinstance(reply.id, str) else None
        if asked is None:
            return
        results = reply.fields.get("results")
        if reply.ok and isinstance(results, list):
            by_group = {result.get("group"): result for result in results}
            each = [by_group.get(subscription.group, {}) for subscription in asked]
        else:
            each = [reply.fields] * len(asked)
        for subscription, result in zip(asked, each, strict=True):
            if subscription.phase is Phase.WANTED and subscription.asked == reply.id:
                self._outcome(subscription, result)

    def _outcome(self, subscription: Subscription, result: dict[str, Any]) -> None:
        if result.get("ok") is not True:
            self._refused(subscription, to_error(result.get("error") or {}))
            return
        try:
            started = msgspec.convert(result, Started)
        except msgspec.ValidationError as bad:
            self._refused(subscription, ChatError("internal", f"the reply to subscribe is not understood: {bad}"))
        else:
            subscription.accepted(started, self._log_id)

    async def event(self, event: Event, *, hurry: bool) -> None:
        """Take in an event; `hurry` if a reply is waited for, which is behind it."""
        subscription = self._subscriptions.get(event.group)
        if subscription is None or subscription.phase not in {Phase.LIVE, Phase.WANTED}:
            return
        if not await self._has_room(subscription, hurry=hurry):
            return
        if not subscription.take(event):
            self._missed(subscription, event.seq)
        elif _ends(event, self._user) and event.seq > subscription.head:
            # Live, and the last one for us; one at or below the head is of an earlier membership.
            del self._subscriptions[event.group]
            subscription.finish()

    async def withheld(self, frame: Withheld, *, hurry: bool) -> None:
        """Take note of events that the user may not read; `hurry` as for an event."""
        subscription = self._subscriptions.get(frame.group)
        if subscription is None or subscription.phase not in {Phase.LIVE, Phase.WANTED}:
            return
        if await self._has_room(subscription, hurry=hurry) and not subscription.skip(frame):
            self._missed(subscription, frame.start)

    def presence(self, frame: Presence) -> None:
        """Tell of who came and went."""
        subscription = self._subscriptions.get(frame.group)
        if subscription is not None:
            subscription.on_presence(frame)

    def ended(self, error: EndedError | None) -> None:
        """End all: with `error`, or in peace."""
        self._ended = error or EndedError("the client is closed")
        for timer in self._timers:
            timer.cancel()
        for subscription in self._subscriptions.values():
            subscription.finish(error)
        self._subscriptions.clear()

    def resume(self, subscription: Subscription) -> None:
        if self._ended is not None:
            subscription.finish(self._ended)
            return
        subscription.phase = Phase.WANTED
        if not self._next:  # those that begin in the same turn of the loop are asked for together
            asyncio.get_running_loop().call_soon(self._ask_next)
        self._next.append(subscription)

    def release(self, subscription: Subscription) -> None:
        if self._subscriptions.get(subscription.group) is subscription:
            del self._subscriptions[subscription.group]
            if subscription.phase in {Phase.LIVE, Phase.WANTED} and not self._taken_back(subscription):
                self._unsubscribe(subscription.group)
        subscription.finish()

    def _taken_back(self, subscription: Subscription) -> bool:
        """Whether its request was not sent yet, and will not be."""
        key = subscription.asked
        if key is None or self._asked.get(key) != [subscription] or not self._link.withdraw(key):
            return False
        del self._asked[key]
        return True

    def _park(self, subscription: Subscription) -> None:
        _log.debug("the consumer of %s is behind: parked at %s", subscription.group, subscription.cursor)
        subscription.phase = Phase.PARKED
        self._unsubscribe(subscription.group)

    def _missed(self, subscription: Subscription, seq: int) -> None:
        """Something before `seq` is missing: from the cursor again, unless that was asked already."""
        if subscription.phase is Phase.LIVE:
            _log.warning("%s: seq %d after %s: subscribing again", subscription.group, seq, subscription.cursor)
            subscription.phase = Phase.WANTED
            self._ask(subscription)

    async def _has_room(self, subscription: Subscription, *, hurry: bool) -> bool:
        """Whether a frame may be taken in, maybe after a moment; if there is no room even then, the group is let go."""
        if not subscription.full():
            return True
        has_room = await self._room(subscription, hurry=hurry)
        if self._subscriptions.get(subscription.group) is not subscription:  # closed meanwhile: not even let go
            return False
        if not has_room:
            self._park(subscription)
        return has_room

    async def _room(self, subscription: Subscription, *, hurry: bool) -> bool:
        """Hold up the socket until there is room, for a moment; whether there is."""
        await asyncio.sleep(0)
        if subscription.full() and not hurry:
            self._hurried.clear()
            waits = [asyncio.ensure_future(subscription.room()), asyncio.ensure_future(self._hurried.wait())]
            try:
                await asyncio.wait(waits, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return not subscription.full()

    def _refused(self, subscription: Subscription, error: ChatError) -> None:
        """Ask again later if that may help; a first subscription only for so long."""
        subscription.attempts += 1
        if error.temporary and (subscription.opened or subscription.waited_s() < self._timeout_s):
            after_s = error.retry_after_s
            self._later(self._retry.delay_s(subscription.attempts) if after_s is None else after_s, subscription)
            return
        self._subscriptions.pop(subscription.group, None)
        subscription.finish(error)

    def _later(self, delay_s: float, subscription: Subscription) -> None:
        def ask() -> None:
            self._timers.discard(timer)
            if self._subscriptions.get(subscription.group) is subscription and subscription.phase is Phase.WANTED:
                self._ask(subscription)

        timer = asyncio.get_running_loop().call_later(delay_s, ask)
        self._timers.add(timer)

    def _ask(self, subscription: Subscription) -> None:
        self._post([subscription], {"group": subscription.group, **_state(subscription), **subscription.start_fields()})

    def _ask_next(self) -> None:
        wanted, self._next = self._next, []
        if self._ended is None and self._link.online:  # else the next connection asks for all
            self._ask_all([each for each in wanted if each.phase is Phase.WANTED])

    def _ask_all(self, subscriptions: list[Subscription]) -> None:
        """Ask for many, a hundred at a time; those that want a state, alone: a batch has none (protocol §4)."""
        together = [each for each in subscriptions if not _wants_state(each)]
        for subscription in subscriptions:
            if _wants_state(subscription):
                self._ask(subscription)
        for at in range(0, len(together), _BATCH):
            batch = together[at : at + _BATCH]
            if len(batch) == 1:
                self._ask(batch[0])
            else:
                groups = [{"group": each.group, **each.start_fields()} for each in batch]
                self._post(batch, {"groups": groups, "state": False})

    def _post(self, subscriptions: list[Subscription], fields: dict[str, Any]) -> None:
        key = f"s{next(self._numbers)}"
        self._asked[key] = subscriptions
        for subscription in subscriptions:
            subscription.asked = key
        self._link.post(key, encode({"type": "subscribe", "id": key, **fields}))
        self.hurry()

    def _unsubscribe(self, group: str) -> None:
        key = f"s{next(self._numbers)}"
        self._link.post(key, encode({"type": "unsubscribe", "id": key, "group": group}))
        self.hurry()


def _wants_state(subscription: Subscription) -> bool:
    return subscription.with_state and not subscription.opened


def _state(subscription: Subscription) -> dict[str, Any]:
    return {} if _wants_state(subscription) else {"state": False}


def _ends(event: Event, user: str) -> bool:
    """Whether the user is a member no longer after `event`."""
    if event.kind in {"member.left", "member.removed"}:
        return event.data.get("user") == user
    return event.kind == "group.deleted"
