"""A gateway without a broker, and clients whose waits are too short to be noticed."""

import random
from collections.abc import AsyncIterator, Callable

import pytest
from auerbach_client import Backoff, Client

from tests.support.fake_gateway import FakeGateway

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
        settings = {"reconnect": quick, "retry": quick, "connect_timeout_s": 10, "reply_timeout_s": 5, **arguments}
        return Client(gateway.url, user=user, **settings)  # type: ignore[arg-type]

    return make
