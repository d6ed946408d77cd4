"""Who is online, asked of real gateways and told by them: many devices on two gateways (protocol §5, §9)."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.contract.client import Client
from tests.contract.conftest import Connect
from tests.support.until import until_answer

NewGroup = Callable[[], str]


async def begin(client: Client, group: str, *users: str) -> None:
    reply = await client.ask("create_group", group=group, name="G", members=[{"user": user} for user in users])
    assert reply["ok"], reply


async def subscribe(client: Client, group: str, **fields: Any) -> dict[str, Any]:
    reply = await client.ask("subscribe", group=group, **fields)
    assert reply["ok"], reply
    return reply


def presence(group: str, joined: tuple[str, ...] = (), left: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "signal", "group": group, "kind": "presence", "joined": [*joined], "left": [*left]}


async def no_signal(client: Client, group: str, other: Client) -> None:
    """Nothing was told of anybody until now: the next change of presence is the one that is made here."""
    await other.ask("unsubscribe", group=group)
    assert (await client.signal())["left"]


async def test_who_subscribes_and_ends_it_is_told_to_members_at_every_gateway(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, "bob")
    await subscribe(alice, group)
    await subscribe(bob, group)
    assert await alice.signal() == presence(group, joined=("bob",))
    assert (await bob.ask("unsubscribe", group=group))["ok"]
    assert await alice.signal() == presence(group, left=("bob",))


async def test_the_state_names_who_is_online_and_the_asker(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, "bob")
    assert (await subscribe(alice, group))["state"]["online"] == ["alice"]
    await online_until(bob, group, {"alice"})
    assert sorted((await subscribe(bob, group))["state"]["online"]) == ["alice", "bob"]


async def online_until(client: Client, group: str, users: set[str]) -> None:
    """Ask who is online until it is these."""

    async def are_online() -> bool:
        return set((await client.ask("presence", group=group))["online"]) == users

    await until_answer(are_online)


async def test_a_socket_that_is_subscribed_is_online_for_who_asks_at_its_gateway(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await connect("alice")
    await begin(alice, group)
    await subscribe(alice, group)
    assert (await alice.ask("presence", group=group))["online"] == ["alice"]
    await alice.ask("unsubscribe", group=group)
    assert (await alice.ask("presence", group=group))["online"] == []


async def test_ones_own_coming_is_no_news(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice"), await connect("bob")
    await begin(alice, group, "bob")
    await subscribe(alice, group)
    await subscribe(bob, group)
    assert await alice.signal() == presence(group, joined=("bob",))
    await alice.ask("unsubscribe", group=group)
    joined: list[str] = []
    while (signal := await bob.signal())["left"] != ["alice"]:
        joined += signal["joined"]
    assert "bob" not in joined


async def test_the_last_of_many_devices_counts_wherever_they_are(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice", 0)
    devices = [await connect("bob", gateway) for gateway in (0, 1, 0, 1)]
    await begin(alice, group, "bob")
    await subscribe(alice, group)
    for device in devices:
        await subscribe(device, group)
    assert await alice.signal() == presence(group, joined=("bob",))
    for device in devices:  # each gateway tells the owner of its own in its own time
        await online_until(device, group, {"alice", "bob"})
    for device in devices[:-1]:
        await device.socket.close()
        assert sorted((await alice.ask("presence", group=group))["online"]) == ["alice", "bob"]
    assert alice.signals == []
    await devices[-1].socket.close()
    assert await alice.signal() == presence(group, left=("bob",))


async def test_subscribing_again_on_the_same_socket_is_no_coming_and_going(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, "bob")
    await subscribe(alice, group)
    await subscribe(bob, group)
    assert await alice.signal() == presence(group, joined=("bob",))
    for _ in range(20):
        await subscribe(bob, group, state=False)
    await online_until(bob, group, {"alice", "bob"})
    await no_signal(alice, group, bob)


async def test_who_is_removed_or_leaves_is_not_online_any_more(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob, carol = await connect("alice", 0), await connect("bob", 1), await connect("carol", 1)
    await begin(alice, group, "bob", "carol")
    for client in (alice, bob, carol):
        await subscribe(client, group)
    await online_until(alice, group, {"alice", "bob", "carol"})
    alice.signals.clear()
    assert (await alice.ask("remove_member", group=group, user="bob"))["ok"]
    assert sorted((await alice.ask("presence", group=group))["online"]) == ["alice", "carol"]
    assert (await carol.ask("leave", group=group))["ok"]
    left: set[str] = set()
    while left != {"bob", "carol"}:
        left |= set((await alice.signal())["left"])


async def test_who_may_not_read_a_group_is_not_told_who_is_online_in_it(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob, carol = await connect("alice"), await connect("bob"), await connect("carol")
    await begin(alice, group, "bob")
    assert (await alice.ask("remove_member", group=group, user="bob", ban=True))["ok"]
    assert (await bob.ask("presence", group=group))["error"]["code"] == "banned"
    assert (await carol.ask("presence", group=group))["error"]["code"] == "not_a_member"
    assert (await carol.ask("presence", group=new_group()))["error"]["code"] == "no_such_group"
    refused = (await carol.ask("presence"))["error"]
    assert (refused["code"], refused["field"]) == ("invalid", "group")


async def test_an_old_state_says_nothing_of_presence(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice")
    await begin(alice, group, "bob")
    await alice.ask("send", group=group, text="x", client_msg_id="x")
    await subscribe(alice, group)
    assert "online" not in (await alice.ask("state", group=group, at_seq=1))["state"]
    assert "online" in (await alice.ask("state", group=group))["state"]


async def test_more_than_a_thousand_who_are_online_are_cut_and_said_to_be_and_merged(
    connect: Connect, new_group: NewGroup
) -> None:
    group, crowd = new_group(), [f"user-{n}" for n in range(1_050)]
    owner, watcher = await connect("owner", 0), await connect("watcher", 1)
    await begin(owner, group, "watcher", *crowd[:900])
    numbers = [await owner.start("add_member", group=group, user=user) for user in crowd[900:]]
    assert all([(await owner.reply(number))["ok"] for number in numbers])
    await subscribe(watcher, group)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def come(user: str, number: int) -> Client:
        client = await connect(user, number % 2)
        await subscribe(client, group, state=False)
        return client

    for start in range(0, len(crowd), 50):
        await asyncio.gather(*(come(user, n) for n, user in enumerate(crowd[start : start + 50])))
    joined: set[str] = set()
    large: list[float] = []
    while len(joined) < len(crowd):
        frame = await watcher.signal()
        assert frame["left"] == []
        joined |= set(frame["joined"])
        if len(joined) > 200:
            large.append(loop.time())
    assert joined == set(crowd)
    assert len(large) <= 2 + (large[-1] - began)
    reply = await watcher.ask("presence", group=group)
    assert (len(reply["online"]), reply["online_more"]) == (1_000, True)
    state = (await subscribe(watcher, group))["state"]
    assert (len(state["online"]), state["online_more"]) == (1_000, True)
    assert "watcher" in state["online"]
