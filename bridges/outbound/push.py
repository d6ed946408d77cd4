"""Push records: a message that some member misses, for the neighbours that wake phones (protocol §8, AMQP out).

A push too many is better than none: where the owner does not say who is offline, the record is sent. A stale one is
noise: what is old, after an outage, is not sent.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import aiohttp
import msgspec

from app.kafka.topics import Layout
from app.reads import Audience
from app.telemetry import logger
from bridges import avro
from bridges.outbound import metrics
from bridges.outbound.channel import Outgoing
from bridges.outbound.push_audience import Audiences, Unknown
from bridges.outbound.steps import Item

EXCHANGE = "push-notifications"
MESSAGE_TYPE = "GROUP_WISE_NOTIFICATION"
RECORD = "AvroGroupWisePushNotification"
STALE_S = 600.0

_log = logger("bridge")


class _Posted(msgspec.Struct):
    text: str | None = None
    deleted: bool = False


class _PostedEvent(msgspec.Struct):
    by: str | None
    data: _Posted


_decoder = msgspec.json.Decoder(_PostedEvent)


class Push(NamedTuple):
    """A push record: `title` is the group's name, `body` the message's text."""

    group: str
    by: str
    title: str
    body: str
    event_id: str
    at_ms: int

    def outgoing(self, confirmed: Callable[[], None]) -> Outgoing:
        """It as a message for `EXCHANGE`."""
        record = {
            "recipient": {"value": self.group},
            "sender": {"username": self.by},
            "message": {"title": self.title, "body": self.body},
        }
        return Outgoing(
            exchange=EXCHANGE,
            routing_key="",
            message_id=f"{self.event_id}-push",
            kind=None,
            content_type=None,
            at_ms=self.at_ms,
            headers={"message_type": MESSAGE_TYPE},
            body=avro.encode(RECORD, record),
            confirmed=confirmed,
        )


class Pushes:
    """Decides which messages are pushed; asks the groups' owners who is offline."""

    def __init__(
        self, bootstrap: str, layout: Layout, audiences: Audiences | None = None, now_s: Callable[[], float] = time.time
    ) -> None:
        """`now_s`: seconds since 1970; an event's `at` is held against it."""
        self._session = aiohttp.ClientSession()
        self._audiences = audiences or Audiences(bootstrap, layout, self._session)
        self._now_s = now_s

    async def close(self) -> None:
        """End what is under way; a push that is not decided is not sent, and decided again by the next bridge."""
        await self._audiences.close()
        await self._session.close()

    def decide(self, item: Item) -> "asyncio.Future[Push | None] | Push | None":
        """The push of an event, a future of it while the owner is asked, None where there is none to be sent."""
        if item.kind != "message.posted":
            return None
        if self._now_s() - item.at_ms / 1000 > STALE_S:
            return _none("old")
        try:
            event = _decoder.decode(item.value)
        except msgspec.MsgspecError:  # of a later version, say: it is published, and nobody is woken for it
            return _none("unreadable")
        if event.data.text is None or event.data.deleted or event.by is None:
            return _none("redacted")
        found = self._audiences.of(item.group)
        if not isinstance(found, asyncio.Future):
            return _push_of(item, event.by, event.data.text, found)
        by, text = event.by, event.data.text
        decided: asyncio.Future[Push | None] = asyncio.get_running_loop().create_future()

        def on_found(future: "asyncio.Future[Audience | Unknown | None]") -> None:
            if not decided.done():
                decided.set_result(None if future.cancelled() else _push_of(item, by, text, future.result()))

        found.add_done_callback(on_found)
        return decided


def _push_of(item: Item, by: str, text: str, audience: Audience | Unknown | None) -> Push | None:
    """The push of a message to a group of which so much is known; None: there is no such group any more."""
    if audience is None:
        return _none("gone")
    if isinstance(audience, Unknown):
        metrics.PUSHES.labels("unasked").inc()
    elif any(user != by for user in audience.offline):
        metrics.PUSHES.labels("sent").inc()
    else:
        return _none("nobody")
    return Push(item.group, by, audience.name or item.group, text, item.id, item.at_ms)


def _none(fate: str) -> Push | None:
    metrics.PUSHES.labels(fate).inc()
    return None
