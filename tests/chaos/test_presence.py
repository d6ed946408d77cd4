"""Presence through the death and the pauses of processes: no ghosts, and nobody who stayed is said to have gone."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.contract.client import Client
from tests.support.stack import Stack
from tests.support.until import until_answer

CRASH_S = 15  # protocol §5
WITHIN_S = 120
LOOK_S = 0.05

Connect = Callable[[str, int], Awaitable[Client]]


@pytest.fixture(scope="module")
def service(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A processor and three gateways of this module's own; what a test kills is started again."""
    # What a test does not kill is to stay: a processor that stood still for half its session leaves.
    settings = {"AUERBACH_SESSION_TIMEOUT_S": "60"}
    stack = Stack(tmp_path_factory.mktemp("presence"), processors=1, gateways=3, settings=settings)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(service: Stack) -> Stack:
    """The same, with all of it there."""
    service.wait_ready()
    return service


@pytest.fixture
async def connect(stack: Stack) -> AsyncIterator[Connect]:
    """Opens sockets to gateways, which need not answer a CLOSE."""
    async with AsyncExitStack() as kept:
        session = await kept.enter_async_context(aiohttp.ClientSession())

        async def open_one(user: str, gateway: int) -> Client:
            socket = await session.ws_connect(stack.ws_url(gateway, user), max_msg_size=2**20)
            client = Client(socket)
            assert (await client.next())["type"] == "hello"
            return client

        yield open_one


@pytest.fixture
def group(new_group: Callable[[], str]) -> str:
    return new_group()


async def begin(connect: Connect, group: str, *users: tuple[str, int]) -> list[Client]:
    """A group of these users, each subscribed at a gateway, who all know of each other."""
    clients = [await connect(user, gateway) for user, gateway in users]
    members = [{"user": user} for user, _ in users]
    assert (await clients[0].ask("create_group", group=group, name="G", members=members))["ok"]
    for client in clients:
        assert (await client.ask("subscribe", group=group))["ok"]
    names = {user for user, _ in users}
    for client in clients:
        await settled(client, group, names)
    return clients


async def settled(client: Client, group: str, users: set[str]) -> None:
    """Wait until a client's gateway shows these users as online, and forget the signals until then."""

    async def are_shown() -> bool:
        return set((await client.ask("state", group=group)).get("state", {}).get("online", ())) == users

    await until_answer(are_shown, WITHIN_S)
    client.signals.clear()


async def waited_s(awaited: Coroutine[Any, Any, None]) -> float:
    """How long something took of the time in which the machine ran: of a standstill, a moment counts."""
    task, waited_s = asyncio.create_task(awaited), 0.0
    while not task.done():
        began = time.monotonic()
        await asyncio.wait({task}, timeout=LOOK_S)
        waited_s += min(time.monotonic() - began, 4 * LOOK_S)
    await task
    return waited_s


async def left(client: Client) -> list[str]:
    """The next who are said to have left; nobody may be said to have come before."""
    frame = await client.signal()
    return [*frame["left"], *(f"+{user}" for user in frame["joined"])]


async def test_a_killed_gateways_users_leave_within_the_promised_time(
    stack: Stack, connect: Connect, group: str
) -> None:
    alice, *_ = await begin(connect, group, ("alice", 0), ("bob", 1), ("carol", 1))
    stack.kill("gateway-1")

    async def both_have_left() -> None:
        gone: set[str] = set()
        while gone != {"bob", "carol"}:
            gone |= {user for user in await left(alice) if not user.startswith("+")}

    assert await waited_s(both_have_left()) < CRASH_S
    assert set((await alice.ask("presence", group=group))["online"]) == {"alice"}


async def test_a_processors_death_says_nothing_of_those_who_stay_and_leaves_no_ghost_of_those_who_do_not(
    stack: Stack, connect: Connect, group: str
) -> None:
    users = ("alice", 0), ("bob", 1), ("carol", 1), ("dave", 2)
    alice, bob, carol, _ = await begin(connect, group, *users)
    pid = stack.kill("processor-0")
    stack.kill("gateway-2")
    await asyncio.to_thread(stack.wait_restarted, "processor-0", pid)
    await settled_silently(alice, group, {"alice", "bob", "carol"})
    # Whoever is not confirmed is given up at the same time: the first thing that is said tells that nothing else is.
    assert await told(alice) == (set(), {"dave"})
    assert await told(bob) == (set(), {"dave"})
    await carol.socket.close()
    assert await told(alice) == (set(), {"carol"})
    assert await told(bob) == (set(), {"carol"})


async def settled_silently(client: Client, group: str, users: set[str]) -> None:
    """Wait until the owner knows these users again."""

    async def are_known() -> bool:
        return set((await client.ask("presence", group=group)).get("online", ())) == users

    await until_answer(are_known, WITHIN_S)


async def told(client: Client) -> tuple[set[str], set[str]]:
    frame: dict[str, Any] = await client.signal()
    return set(frame["joined"]), set(frame["left"])


async def test_a_paused_gateways_users_leave_and_come_back_and_it_says_nothing_of_its_own(
    stack: Stack, connect: Connect, group: str
) -> None:
    alice, bob, carol = await begin(connect, group, ("alice", 0), ("bob", 1), ("carol", 1))
    stack.kill("gateway-1", signal.SIGSTOP)
    try:
        gone: set[str] = set()
        async with asyncio.timeout(WITHIN_S):
            while gone != {"bob", "carol"}:
                gone |= (await told(alice))[1]
    finally:
        stack.kill("gateway-1", signal.SIGCONT)
    back: set[str] = set()
    async with asyncio.timeout(WITHIN_S):
        while back != {"bob", "carol"}:
            back |= (await told(alice))[0]
    await settled_silently(bob, group, {"alice", "bob", "carol"})
    await alice.ask("unsubscribe", group=group)
    assert await told(bob) == (set(), {"alice"})
    assert await told(carol) == (set(), {"alice"})
