"""What is between the log and RabbitMQ: events in order, each done with once RabbitMQ has confirmed it (issue 7).

An event is *due*, then *sent*, then *done* and so is everything before it in its partition. Whatever ends a channel,
all that was sent and is behind the first unconfirmed event is due again, in order: a consumer gets events of a group in
the order of seq, some again, and behind a hole it gets all of them once more.
"""

import asyncio
from collections import deque
from collections.abc import Mapping

from app.telemetry import logger
from bridges.connection import LostError
from bridges.outbound import metrics
from bridges.outbound.channel import Outgoing, Publisher
from bridges.outbound.positions import Place
from bridges.outbound.push import Push, Pushes
from bridges.outbound.steps import Item, Step

# Read and not done with: beyond it reading pauses (design I7).
HELD_EVENTS = 10_000
HELD_BYTES = 32 * 1024 * 1024
AT_ONCE = 64

_log = logger("bridge")


class _Held:
    """An event on its way. `place` is where its partition stands once it, and all before it, is done."""

    __slots__ = ("again", "confirmed", "deciding", "item", "place", "push")

    def __init__(self, item: Item, place: Place) -> None:
        self.item = item
        self.place = place
        self.confirmed = False
        self.again = False
        self.deciding: asyncio.Future[Push | None] | None = None
        self.push: Push | None = None

    @property
    def done(self) -> bool:
        return self.confirmed and self.deciding is None and self.push is None


class Flow:
    """The events of one generation of partitions (`bridges.outbound.reader`), from the log to the channel there is."""

    def __init__(self, exchange: str | None, pushes: Pushes | None) -> None:
        """`exchange`: the topic exchange of events, None if they are not published."""
        self._exchange = exchange
        self._pushes = pushes
        self._generation = 0
        self._over = True
        self._due: deque[_Held] = deque()
        self._sent: deque[_Held] = deque()
        self._pushes_due: deque[_Held] = deque()
        self._last: dict[int, _Held] = {}
        self._reached: dict[int, Place] = {}
        self._events = 0
        self._bytes = 0
        self._publisher: Publisher | None = None
        self._changed = asyncio.Event()
        self._empty = asyncio.Event()
        metrics.HELD.set_function(lambda: self._events)
        metrics.UNCONFIRMED.set_function(lambda: 0 if self._publisher is None else self._publisher.unconfirmed)

    def begin(self, generation: int, places: Mapping[int, Place]) -> None:
        """A generation begins; see `Receiver`."""
        self._drop()
        self._generation, self._over = generation, False
        self._reached = dict(places)

    def take(self, generation: int, steps: list[Step]) -> None:
        """The next steps of the generation."""
        if generation != self._generation or self._over:
            return
        for step in steps:
            last = self._last.get(step.partition)
            if step.item is not None:
                held = _Held(step.item, step.place)
                self._events += 1
                self._bytes += len(step.item.value)
                self._last[step.partition] = held
                self._due.append(held)
            elif last is not None:
                last.place = step.place
            else:
                self._reached[step.partition] = step.place
        self._changed.set()

    async def finish(self, generation: int, within_s: float) -> None:
        """End a generation: what is sent is waited for, what is only due is dropped: whoever is next reads it again."""
        if generation != self._generation or self._over:
            return
        self._over = True
        while self._due:
            self._forget(self._due.pop())
        self._empty.clear()
        if self._sent and self._publisher is not None and within_s > 0:
            try:
                async with asyncio.timeout(within_s):
                    await self._empty.wait()
            except TimeoutError:
                _log.warning("events were not confirmed in time; they are published again", events=len(self._sent))
        self._drop()

    def full(self) -> bool:
        """Whether no more should be read for now; any thread may ask."""
        return self._events >= HELD_EVENTS or self._bytes >= HELD_BYTES

    def reached(self, generation: int) -> Mapping[int, Place]:
        """Up to where each partition is done; any thread may ask."""
        return dict(self._reached) if generation == self._generation else {}

    def change(self) -> None:
        """Something changed that publishing may wait for."""
        self._changed.set()

    async def publish_on(self, publisher: Publisher) -> None:
        """Publish on a channel until it ends, or until cancelled.

        Raises:
            LostError: the channel ended; says why.
        """
        self._send_again()
        self._publisher = publisher
        try:
            while publisher.fault is None:
                batch = self._next_batch(publisher)
                if batch:
                    await publisher.publish(batch)
                else:
                    await self._changed.wait()
                    self._changed.clear()
            raise LostError(publisher.fault)
        finally:
            self._publisher = None
            self._empty.set()  # nobody can confirm anything any more

    def _next_batch(self, publisher: Publisher) -> list[Outgoing]:
        """The next messages: pushes that were decided, then events. Push records alone are nothing to wait for."""
        batch: list[Outgoing] = []
        messages, size = publisher.room
        while self._pushes_due and len(batch) < min(AT_ONCE, messages) and size > 0:
            batch.append(self._push(self._pushes_due.popleft()))
            size -= len(batch[-1].body)
        while self._due and len(batch) < min(AT_ONCE, messages) and size > 0:
            held = self._due.popleft()
            size -= len(held.item.value)
            self._sent.append(held)
            if self._pushes is not None and not held.again:
                self._decide(held, self._pushes)
            if self._exchange is None:
                self._confirm(held)
            else:
                batch.append(self._event(held, self._exchange))
        return batch

    def _event(self, held: _Held, exchange: str) -> Outgoing:
        item = held.item
        if held.again:
            metrics.EVENTS.labels("again").inc()
        return Outgoing(
            exchange=exchange,
            routing_key=f"group.{item.group}.{item.kind}",
            message_id=item.id,
            kind=item.kind,
            content_type="application/json",
            at_ms=item.at_ms,
            headers={
                "seq": item.seq,
                "epoch": item.epoch,
                "kind": item.kind,
                "group": item.group,
                "partition": item.partition,
                "offset": item.offset,
            },
            body=item.value,
            confirmed=lambda: self._confirm(held),
        )

    def _confirm(self, held: _Held) -> None:
        held.confirmed = True
        self._advance()

    def _decide(self, held: _Held, pushes: Pushes) -> None:
        deciding = pushes.decide(held.item)
        if not isinstance(deciding, asyncio.Future):
            held.push = deciding
            if deciding is not None:
                self._pushes_due.append(held)
            return
        held.deciding = deciding

        def on_decided(decided: "asyncio.Future[Push | None]") -> None:
            if held.deciding is not decided:
                return  # dropped meanwhile
            held.deciding = None
            held.push = None if decided.cancelled() else decided.result()
            if held.push is not None:
                self._pushes_due.append(held)
            self._advance()
            self._changed.set()

        deciding.add_done_callback(on_decided)

    def _push(self, held: _Held) -> Outgoing:
        assert held.push is not None
        return held.push.outgoing(lambda: self._push_confirmed(held))

    def _push_confirmed(self, held: _Held) -> None:
        held.push = None
        self._advance()

    def _advance(self) -> None:
        """Let the positions reach up to the first event that is not done."""
        done = 0
        while self._sent and self._sent[0].done:
            held = self._sent.popleft()
            self._reached[held.item.partition] = held.place
            self._forget(held)
            done += 1
        if done:
            metrics.EVENTS.labels("confirmed").inc(done)
        if not self._sent:
            self._empty.set()

    def _forget(self, held: _Held) -> None:
        self._events -= 1
        self._bytes -= len(held.item.value)
        if self._last.get(held.item.partition) is held:
            del self._last[held.item.partition]

    def _send_again(self) -> None:
        """All that was sent on the channel before is due again, in order, from the first unconfirmed event on."""
        self._pushes_due.clear()
        for held in self._sent:
            held.again = True
            held.confirmed = False
            if held.push is not None:
                self._pushes_due.append(held)
        self._due.extendleft(reversed(self._sent))
        self._sent.clear()

    def _drop(self) -> None:
        """Forget everything: whoever has the partitions next reads it again."""
        for held in (*self._sent, *self._due):
            if held.deciding is not None:
                deciding, held.deciding = held.deciding, None
                deciding.cancel()
        self._due.clear()
        self._sent.clear()
        self._pushes_due.clear()
        self._last.clear()
        self._events = self._bytes = 0
