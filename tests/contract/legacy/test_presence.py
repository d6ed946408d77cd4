"""Who is told as connected on the replaced service's WebSocket, and which socket of a member stays (protocol §8)."""

import asyncio

import pytest

from tests.contract.legacy.doors import Enter, NewGroup, Open, begin, post
from tests.support.old_app import CONNECTED, DISCONNECTED, WITHIN_S
from tests.support.until import until


async def test_who_comes_and_goes_is_told_to_old_sockets_at_every_gateway(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    bob = await member(group, "bob", 0)
    carol = await member(group, "carol", 1)
    await bob.about("carol", CONNECTED)
    assert (await alice.ask("subscribe", group=group))["ok"]
    for app in (bob, carol):
        await app.about("alice", CONNECTED)
    assert (await alice.ask("unsubscribe", group=group))["ok"]
    for app in (bob, carol):
        await app.about("alice", DISCONNECTED)
    await carol.socket.close()
    await bob.about("carol", DISCONNECTED)
    assert bob.seen == [
        ("bob", CONNECTED),
        ("carol", CONNECTED),
        ("alice", CONNECTED),
        ("alice", DISCONNECTED),
        ("carol", DISCONNECTED),
    ]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_a_second_connection_replaces_the_first_and_its_end_is_told_to_nobody(
    gateway: int, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    carol = await member(group, "carol", 1)
    first = await member(group, "bob", 0)
    await carol.about("bob", CONNECTED)
    second = await member(group, "bob", gateway)
    await carol.about("bob", CONNECTED)
    assert await first.closed() == 1000
    await post(alice, group, "to one")
    assert await second.text() == "to one"
    assert [told for told in first.seen if len(told) == 3] == []
    await second.socket.close()
    await carol.about("bob", DISCONNECTED)
    assert [told for told in carol.seen if told[0] == "bob"] == [
        ("bob", CONNECTED),
        ("bob", CONNECTED),
        ("bob", DISCONNECTED),
    ]


@pytest.mark.parametrize("gateway", [0, 1])
async def test_each_connection_is_told_once_however_soon_the_next_one_comes(
    gateway: int, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol", "dave")
    carol = await member(group, "carol", gateway)
    dave, _, bob = [await member(group, user, 0) for user in ("dave", "bob", "bob")]
    await carol.about("bob", CONNECTED)
    await carol.about("bob", CONNECTED)
    await bob.socket.close()
    await carol.about("bob", DISCONNECTED)
    assert sorted(carol.seen[1:]) == [
        ("bob", CONNECTED),
        ("bob", CONNECTED),
        ("bob", DISCONNECTED),
        ("dave", CONNECTED),
    ]
    await dave.socket.close()


@pytest.mark.parametrize("gateway", [0, 1])
async def test_who_connects_and_is_gone_at_once_is_told_of_as_both(
    gateway: int, enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    carol = await member(group, "carol", gateway)
    bob = await member(group, "bob", 0)
    await bob.socket.close()
    await carol.about("bob", CONNECTED)
    await carol.about("bob", DISCONNECTED)
    assert carol.seen == [("carol", CONNECTED), ("bob", CONNECTED), ("bob", DISCONNECTED)]


async def test_of_two_connections_opened_at_once_at_two_gateways_one_stays(
    enter: Enter, connect: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob")
    both = await asyncio.gather(connect(group, "bob", 0), connect(group, "bob", 1))
    closing = [asyncio.create_task(app.closed()) for app in both]
    done, [stays] = await asyncio.wait(closing, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [1000]
    await post(alice, group, "x")
    app = both[closing.index(stays)]
    await until(lambda: any(told[1] == "x" for told in app.seen), WITHIN_S)
    stays.cancel()


async def test_one_who_is_online_on_a_new_socket_gets_the_own_connected_and_does_not_lose_the_new_socket(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice", 1)
    await begin(alice, group, "bob")
    assert (await alice.ask("subscribe", group=group))["ok"]
    bob = await member(group, "bob", 0)
    app = await member(group, "alice", 0)
    await bob.about("alice", CONNECTED)
    await app.say("x")
    await alice.reply(await alice.start("ping"))
    while not any(frame.get("kind") == "message.posted" for frame in alice.others):
        alice.others.append(await alice.next())
    await app.socket.close()
    await post(alice, group, "last")
    assert await bob.text() == "x"
    assert await bob.text() == "last"
    assert ("alice", DISCONNECTED) not in bob.seen
