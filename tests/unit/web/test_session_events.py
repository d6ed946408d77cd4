"""One socket's subscriptions, over a real connection without a broker: what it gets, in which order, and how fast."""

import asyncio

import msgspec
import pytest

from tests.unit.web.asking import create
from tests.unit.web.world import Gateway, World
from web import frames, outbox


async def test_a_subscription_runs_from_the_replay_into_the_live_events(gateway: Gateway, world: World) -> None:
    client, reader = await gateway.client(), await gateway.client()
    await create(client)
    for i in range(4):
        await client.ask("send", group="g", text=str(i), client_msg_id=str(i))
    world.page = 2
    reply = await reader.ask("subscribe", group="g", after=1)
    await client.ask("send", group="g", text="x", client_msg_id="x")
    assert (reply["group"], reply["seq"], reply["from"], reply["recovered"]) == ("g", 5, 2, True)
    assert reply["state"]["members"] == [{"user": "alice", "role": "owner", "read": 1}]
    assert await reader.seqs(5) == [2, 3, 4, 5, 6]


async def test_the_frame_of_an_event_is_its_bytes_in_the_log(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    await client.ask("subscribe", group="g", after=0)
    await client.ask("send", group="g", text="é\u2028", client_msg_id="1")
    live = client.others.pop() if client.others else await client.next()
    replayed = await gateway.client()
    await replayed.ask("subscribe", group="g", last=1)
    assert await replayed.next() == (live if live["seq"] == 2 else await client.next())
    assert msgspec.json.decode(world.log.group("g").frames[1])["data"] == {"text": "é\u2028"}


async def test_what_happens_while_the_answer_is_on_its_way_is_not_missed(gateway: Gateway, world: World) -> None:
    client, reader = await gateway.client(), await gateway.client()
    await create(client)
    world.way.clear()
    number = await reader.start("subscribe", group="g")
    while not world.answered:
        await asyncio.sleep(0)
    await client.ask("send", group="g", text="x", client_msg_id="x")
    world.way.set()
    assert (await reader.reply(number))["seq"] == 1
    assert await reader.seqs(1) == [2]


async def test_subscribing_again_replaces_and_a_refusal_leaves_the_one_before(gateway: Gateway, world: World) -> None:
    owner, client = await gateway.client("alice"), await gateway.client("bob")
    await create(owner, members=[{"user": "bob"}])
    assert (await client.ask("subscribe", group="g"))["ok"]
    assert (await client.ask("subscribe", group="g", last=1))["from"] == 1
    assert await client.seqs(1) == [1]
    world.owner_away = True
    assert (await client.ask("subscribe", group="g"))["error"]["code"] == "unavailable"
    await owner.ask("send", group="g", text="x", client_msg_id="x")
    assert await client.seqs(1) == [2]
    assert (await client.ask("ping"))["ok"]
    assert client.others == []  # it came once, though two subscriptions succeeded and one failed


async def test_the_removal_of_a_member_is_the_last_event_it_gets(gateway: Gateway, world: World) -> None:
    owner, client = await gateway.client("alice"), await gateway.client("bob")
    await create(owner, members=[{"user": "bob"}])
    await client.ask("subscribe", group="g")
    await owner.ask("remove_member", group="g", user="bob")
    await owner.ask("send", group="g", text="secret", client_msg_id="x")
    assert await client.seqs(1) == [2]
    assert (await client.ask("ping"))["ok"]
    assert client.others == []
    assert not world.hub.follows(b"g")
    assert (await client.ask("subscribe", group="g"))["error"]["code"] == "not_a_member"


async def test_unsubscribing_ends_the_events_and_is_ok_without_a_subscription(gateway: Gateway, world: World) -> None:
    client = await gateway.client()
    await create(client)
    assert (await client.ask("unsubscribe", group="g"))["ok"]
    await client.ask("subscribe", group="g")
    assert (await client.ask("unsubscribe", group="g"))["ok"]
    assert not world.hub.follows(b"g")


async def test_a_batch_answers_each_group_for_itself(gateway: Gateway) -> None:
    client = await gateway.client()
    await create(client, "a")
    await create(client, "b")
    groups = [{"group": "a", "after": 0}, {"group": "none"}, {"group": " "}, {"group": "b"}]
    reply = await client.ask("subscribe", groups=groups)
    a, none, bad, b = reply["results"]
    assert (a["ok"], a["group"], a["seq"], a["from"]) == (True, "a", 1, 1)
    assert (none["ok"], none["group"], none["error"]["code"]) == (False, "none", "no_such_group")
    assert (bad["ok"], bad["error"]["field"]) == (False, "group")
    assert (b["ok"], b["from"]) == (True, 2)
    assert "state" not in a
    assert await client.seqs(1) == [1]


async def test_a_socket_follows_at_most_its_limit_of_groups(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "GROUPS", 1)
    client = await gateway.client()
    await create(client, "a")
    await create(client, "b")
    assert (await client.ask("subscribe", group="a"))["ok"]
    assert (await client.ask("subscribe", group="b"))["error"]["code"] == "too_many_groups"
    assert (await client.ask("subscribe", group="a"))["ok"]


async def test_a_reader_that_is_too_slow_is_closed_and_others_are_not(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox.Outbox, "live_limit_bytes", 200_000)
    client = await gateway.client()
    await create(client)
    slow, quick = await gateway.client(), await gateway.client()
    await slow.ask("subscribe", group="g")
    await quick.ask("subscribe", group="g")
    transport = slow.socket._response.connection.transport  # type: ignore[union-attr]
    transport.pause_reading()  # type: ignore[union-attr]
    for i in range(400):
        assert (await client.ask("send", group="g", text="x" * 10_000, client_msg_id=str(i)))["ok"]
        assert await quick.seqs(1) == [i + 2]
    transport.resume_reading()  # type: ignore[union-attr]
    assert await slow.closed() == 4408
    seqs = [frame["seq"] for frame in slow.others]
    assert seqs == list(range(2, len(seqs) + 2))
    assert len(seqs) < 400


async def test_a_replay_is_read_at_the_readers_pace_and_never_counts(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox.Outbox, "live_limit_bytes", 200_000)
    client = await gateway.client()
    await create(client)
    for i in range(300):
        await client.ask("send", group="g", text="x" * 10_000, client_msg_id=str(i))
    slow = await gateway.client()
    world.page = 20
    transport = slow.socket._response.connection.transport  # type: ignore[union-attr]
    await slow.start("subscribe", group="g", after=0)
    transport.pause_reading()  # type: ignore[union-attr]
    while len(world.reads) < 2:
        await asyncio.sleep(0)
    for i in range(50):
        await client.ask("send", group="g", text="x" * 10_000, client_msg_id=f"later {i}")
    transport.resume_reading()  # type: ignore[union-attr]
    assert (await slow.next())["ok"]
    assert await slow.seqs(351) == list(range(1, 352))
