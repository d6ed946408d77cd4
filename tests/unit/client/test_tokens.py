"""Tokens: a fresh one for each connection, and in time on an open one."""

import asyncio
import itertools
import time

import pytest
from auerbach_client import Client, EndedError
from auerbach_client.renewal import expires_at, renew

from tests.support.fake_gateway import FakeGateway
from tests.support.until import until
from tests.unit.client.conftest import MakeClient, jwt


async def test_who_is_not_authenticated_is_told_at_once(gateway: FakeGateway) -> None:
    with pytest.raises(EndedError, match="401") as refused:
        async with Client(gateway.url, token="wrong"):
            pass

    assert refused.value.code == 401


async def test_every_connection_gets_a_fresh_token(gateway: FakeGateway, client: MakeClient) -> None:
    numbers = itertools.count(1)
    gateway.tokens = {"t1": "alice", "t2": "alice"}

    async def fresh() -> str:
        return f"t{next(numbers)}"

    async with client(None, token=fresh) as alice:
        await gateway.close(4401)
        await alice.ping()
        assert alice.hello.user == "alice"

    assert next(numbers) == 3


async def test_a_refused_token_is_replaced_once(gateway: FakeGateway, client: MakeClient) -> None:
    numbers = itertools.count(1)
    gateway.tokens = {"t2": "alice"}
    async with client(None, token=lambda: f"t{next(numbers)}") as alice:
        gateway.tokens = {}
        gateway.cut()
        with pytest.raises(EndedError, match="401"):
            await alice.ping()

    assert next(numbers) == 5  # t1 refused, t2 taken; after the cut t3 and t4 refused


async def test_a_token_is_renewed_on_the_open_socket_before_it_expires(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.renewal._LEAST_S", 0.01)
    tokens = [jwt(0.4, 1), jwt(0.8, 2), jwt(3600, 3)]
    gateway.tokens = dict.fromkeys(tokens, "alice")
    given = iter(tokens)

    async with client(None, token=lambda: next(given)) as alice:
        await until(lambda: len(gateway.requests) == 2)
        await alice.ping()

    renewals = [frame["token"] for _, frame in gateway.requests if frame["type"] == "auth"]
    assert renewals == tokens[1:]
    assert gateway.connections == 1


async def test_a_token_that_is_not_there_yet_is_asked_for_again(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.renewal._LEAST_S", 0.01)
    first, last = jwt(0.05, 1), jwt(3600, 2)
    gateway.tokens = {first: "alice", last: "alice"}
    given: list[str | Exception] = [first, OSError("away"), first, OSError("away"), last]

    async def fresh() -> str:
        token = given.pop(0)
        if isinstance(token, Exception):
            raise token
        return token

    async with client(None, token=fresh):
        await until(lambda: gateway.requests)

    assert [frame["token"] for _, frame in gateway.requests] == [last]


async def test_a_renewed_token_that_is_refused_ends_the_client(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.renewal._LEAST_S", 0.01)
    tokens = [jwt(0.05, 1), jwt(3600, 2)]
    gateway.tokens = {tokens[0]: "alice", tokens[1]: "bob"}
    given = iter(tokens)
    async with client(None, token=lambda: next(given)) as alice:
        run = alice.subscribe("g")
        gateway.subscribe_refusals = ["unavailable"] * 10_000  # it waits until there is no client any more
        with pytest.raises(EndedError) as ended:
            await asyncio.wait_for(anext(run), 30)

    assert ended.value.code == 4501


async def test_a_token_is_renewed_when_a_quarter_of_its_life_or_a_minute_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pauses, presented = [time.time()], [], []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        now[0] += pause_s
        if len(pauses) == 5:
            raise EOFError

    async def fresh() -> str:
        return next(tokens)

    monkeypatch.setattr("auerbach_client.renewal.asyncio.sleep", sleep)
    monkeypatch.setattr("auerbach_client.renewal.time.time", lambda: now[0])
    # A minute; an hour; then there is no newer one twice, and then one.
    starts = (0, 45, 3585, 3585)
    made = [jwt(start + life) for start, life in zip(starts, (60, 3600, 3600, 3600), strict=True)]
    tokens = iter([made[1], made[1], made[1], made[3]])
    with pytest.raises(EOFError):
        await renew(made[0], fresh, presented.append)

    assert [round(pause) for pause in pauses] == [45, 3540, 45, 11, 3484]
    assert presented == [made[1], made[3]]


async def test_tokens_that_live_for_seconds_are_renewed_again_and_again_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, pauses = [time.time()], []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        now[0] += pause_s
        if len(pauses) == 6:
            raise EOFError

    async def fresh() -> str:
        return jwt(2)

    monkeypatch.setattr("auerbach_client.renewal.asyncio.sleep", sleep)
    monkeypatch.setattr("auerbach_client.renewal.time.time", lambda: now[0])
    with pytest.raises(EOFError):
        await renew(jwt(2), fresh, lambda _: None)

    assert [round(pause, 1) for pause in pauses] == [1.5] * 6


async def test_a_token_that_does_not_come_is_asked_for_every_half_a_minute_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 1_100:
            raise EOFError

    async def fresh() -> str:
        raise OSError("away")

    monkeypatch.setattr("auerbach_client.renewal.asyncio.sleep", sleep)
    with pytest.raises(EOFError):
        await renew(jwt(-1), fresh, lambda _: None)

    assert pauses[:3] == [0.5, 1, 2]
    assert set(pauses[6:]) == {30}


@pytest.mark.parametrize(
    "token", ["opaque", "a.b.c", "a.bm8.c", jwt(0).rsplit(".", 1)[0]], ids=["opaque", "not base64", "not JSON", "cut"]
)
def test_a_token_that_does_not_say_when_it_expires_is_left_alone(token: str) -> None:
    assert expires_at(token) is None
