"""Messages over the replaced service's WebSocket (protocol §8): real gateways, and apps as strict as the old."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.contract.client import Client
from tests.contract.legacy.doors import Enter, NewGroup, Open, begin, post
from tests.support.old_app import OldApp
from tests.support.stack import Stack
from tests.support.until import until_answer

REFUSED = 'legacy_messages_total{fate="refused"}'


async def test_members_of_either_kind_see_the_same_messages_in_the_same_order(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group, dice, each = new_group(), Random(8), 120
    alice, bob = await enter("alice", 0), await enter("bob", 1)
    await begin(alice, group, "bob", "carol", "dave")
    for client in (alice, bob):
        assert (await client.ask("subscribe", group=group, after=1))["ok"]
    old = [await member(group, "carol", 0), await member(group, "dave", 1)]

    async def write(send: Callable[[str], Awaitable[Any]], name: str, seed: int) -> None:
        own = Random(seed)
        for n in range(each):
            await send(f"{name} {n} {'é' * own.randrange(200)}")
            if own.random() < 0.3:
                await asyncio.sleep(0)

    async def events(client: Client) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        while len(found) < 4 * each:
            frame = client.others.pop(0) if client.others else await client.next()
            if frame.get("kind") == "message.posted":
                found.append((frame["by"], frame["data"]["text"], frame["at"]))
        return found

    async def told(app: OldApp) -> list[Any]:
        while sum(len(each) == 3 for each in app.seen) < 4 * each:
            await app.next()
        return [told for told in app.seen if len(told) == 3]

    reading = [asyncio.create_task(told(app)) for app in old]
    writers: list[Any] = [
        write(lambda text: post(alice, group, text), "a", dice.randrange(99)),
        write(lambda text: post(bob, group, text), "b", dice.randrange(99)),
        *(write(app.say, name, dice.randrange(99)) for app, name in zip(old, "cd", strict=True)),
    ]
    await asyncio.gather(*writers)
    seen = [await each for each in reading]
    assert seen[0] == seen[1] == await events(alice) == await events(bob)
    for user in ("alice", "bob", "carol", "dave"):  # in the order of each sender, each once
        assert [int(text.split()[1]) for by, text, _ in seen[0] if by == user] == list(range(each))


async def test_a_message_has_the_same_instant_live_and_in_history(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group)
    app = await member(group, "alice", 0)
    await app.say("x")
    told = await app.next()
    [message] = (await alice.ask("history", group=group))["messages"]
    assert told == (message["by"], message["text"], message["at"])


async def test_messages_are_taken_literally_whole_and_in_order(enter: Enter, member: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group)
    app = await member(group, "alice", 0)
    texts = [
        '{"type":"send"}',
        '["NewMessage",[]]',
        " ",
        "null",
        "ping",
        "é\u2028😀",
        "x" * 16_384,
        *map(str, range(40)),
    ]
    await app.socket.send_bytes(b"ignored")
    await app.say("", *texts)
    writer = app.socket._writer
    assert writer is not None
    for first, payload in ((0x01, b"in "), (0x89, b""), (0x00, b"three "), (0x80, b"parts")):
        writer.transport.write(bytes((first, 0x80 | len(payload))) + bytes(4) + payload)
    assert [await app.text() for _ in range(len(texts) + 1)] == [*texts, "in three parts"]


async def test_what_is_received_before_the_close_is_posted(enter: Enter, connect: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group)
    assert (await alice.ask("subscribe", group=group))["ok"]
    app = await connect(group, "alice", 0)
    await app.say(*(str(n) for n in range(200)))
    await app.socket.close()
    found: list[str] = []
    while len(found) < 200:
        frame = await alice.next()
        if frame.get("kind") == "message.posted":
            found.append(frame["data"]["text"])
    assert found == [str(n) for n in range(200)]


@pytest.mark.parametrize(
    "name", ["a/b", "100%", "a%2Fb", "a+b c", "é", "e\u0301", "👩\u200d👩\u200d👧", "?&#=;", '"\\']
)
async def test_hostile_ids_reach_the_group(name: str, enter: Enter, member: Open, new_group: NewGroup) -> None:
    group, user = f"{name} {new_group()}", f"{name}'s"
    alice = await enter("alice", 1)
    await begin(alice, group, user)
    app = await member(group, user, 0)
    await app.say(name)
    assert (await app.next())[:2] == (user, name)


async def test_what_a_reader_sends_is_dropped(
    stack: Stack, http: aiohttp.ClientSession, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob")
    assert (await alice.ask("set_role", group=group, user="bob", role="reader"))["ok"]
    bob = await member(group, "bob", 1)

    async def refused() -> float:
        async with http.get(f"{stack.http_url(1)}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if REFUSED in line)

    async def one_more() -> bool:
        return await refused() > before

    before = await refused()
    await bob.say("unheard")
    await until_answer(one_more)
    assert (await alice.ask("set_role", group=group, user="bob", role="member"))["ok"]
    await bob.say("heard")
    assert await bob.text() == "heard"
