"""A gateway without a broker, and clients whose waits are too short to be noticed."""

import asyncio
import base64
import json
import random
import time
from collections.abc import AsyncIterator, Callable

import pytest
from auerbach_client import Backoff, Client, Event, Item, Subscription

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock

MakeClient = Callable[..., Client]


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as gateway:
        gateway.limits["requests_per_second"] = 10_000
        yield gateway


@pytest.fixture
def client(gateway: FakeGateway) -> MakeClient:
    """Makes clients of the gateway; the arguments are `Client`'s."""

    def make(user: str | None = "alice", **arguments: object) -> Client:
        quick = Backoff(0.001, 0.01, random.Random(1))
        settings = {"reconnect": quick, "retry": quick, "connect_timeout_s": 60, "reply_timeout_s": 60, **arguments}
        return Client(gateway.url, user=user, **settings)  # type: ignore[arg-type]

    return make


def held_up(reader: Client) -> bool:
    """Whether a full queue holds up the socket of `reader`: a frame waits for room, and nothing more is read."""
    connection, feed = reader._session.link._connection, reader._session.feed
    return connection is not None and connection._waiting_since is None and not feed._hurried.is_set()


async def take(events: Subscription, count: int) -> list[Item]:
    """The next `count` items."""
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


async def posted(chat: Client, count: int, group: str = "g") -> None:
    """`count` messages in a group."""
    await asyncio.gather(*(chat.send(group, f"m{i}") for i in range(count)))


def seqs(items: list[Item]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


def jwt(life_s: float, number: int = 0) -> str:
    """A token that says when it expires; nobody here checks its signature."""
    parts = ({"alg": "none"}, {"sub": "alice", "exp": time.time() + life_s, "jti": number})
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.x"


@pytest.fixture
async def clock(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    """Where time is put forward, nobody counts as silent: the heartbeats are an hour apart unless a test says else."""
    gateway.heartbeat_ms = 3_600_000
    return LoopClock(monkeypatch)
