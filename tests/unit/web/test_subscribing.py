"""How many groups one socket follows, and what it costs before a reply, over a real connection without a broker."""

import asyncio

import pytest

from app.reads import Answer, AnyRead, ReadEvents, ReadSubscription
from tests.contract.client import Client
from tests.unit.web.world import Gateway, World
from web import batch, conversation, frames
from web.conversation import ASKING


async def make(client: Client, *groups: str) -> None:
    for group in groups:
        assert (await client.ask("create_group", group=group, name="G"))["ok"]


def followed(world: World, *groups: str) -> str:
    return "".join(group for group in groups if world.hub.follows(group.encode()))


async def test_the_limit_is_the_last_check_and_counts_only_what_is_followed(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "GROUPS", 3)
    alice = await gateway.client()
    await make(alice, *"abcdef")
    reply = await alice.ask("subscribe", groups=[{"group": group} for group in "axbycdz"])
    told = ["ok" if each["ok"] else each["error"]["code"] for each in reply["results"]]
    assert told == ["ok", "no_such_group", "ok", "no_such_group", "ok", "too_many_groups", "no_such_group"]
    assert followed(world, *"abcdefxyz") == "abc"

    numbers = [await alice.start("subscribe", group=group) for group in "daxb"]
    replies = {group: await alice.reply(number) for group, number in zip("daxb", numbers, strict=True)}
    told = [replies[group].get("error", {}).get("code", "ok") for group in "daxb"]
    assert told == ["too_many_groups", "ok", "no_such_group", "ok"]

    world.owner_away = True
    assert (await alice.ask("subscribe", group="d"))["error"]["code"] == "unavailable"
    world.owner_away = False
    assert (await alice.ask("unsubscribe", group="b"))["ok"]
    assert (await alice.ask("subscribe", group="d"))["ok"]
    assert followed(world, *"abcdefxyz") == "acd"
    assert (await alice.ask("delete_group", group="a"))["ok"]  # which ends that subscription
    assert (await alice.ask("subscribe", group="e"))["ok"]
    assert (await alice.ask("subscribe", group="f"))["error"]["code"] == "too_many_groups"
    assert followed(world, *"abcdefxyz") == "cde"


async def test_what_waits_to_be_asked_for_follows_nothing_yet(gateway: Gateway, world: World) -> None:
    alice = await gateway.client()
    groups = [f"g{n}" for n in range(30)]
    await make(alice, *groups)
    world.gate.clear()
    batch = await alice.start("subscribe", groups=[{"group": group} for group in groups[:20]])
    single = [await alice.start("subscribe", group=group) for group in groups[20:]]
    assert (await alice.ask("ping"))["ok"]
    while len(world.reads) < ASKING:
        await asyncio.sleep(0)
    assert sum(world.hub.follows(group.encode()) for group in groups) == ASKING
    world.gate.set()
    assert [result["ok"] for result in (await alice.reply(batch))["results"]] == [True] * 20
    for number in single:
        assert number in {frame.get("id") for frame in alice.others} or (await alice.reply(number))["ok"]
    assert sum(world.hub.follows(group.encode()) for group in groups) == 30


async def test_each_group_of_a_batch_counts_among_the_requests_that_wait(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await gateway.client("alice"), await gateway.client("bob")
    await make(alice, *"abc")
    monkeypatch.setattr(conversation, "IN_FLIGHT", 3)
    world.gate.clear()
    batch = await alice.start("subscribe", groups=[{"group": group} for group in "abc"])
    later = await alice.start("ping")
    while len(world.reads) < 3:
        await asyncio.sleep(0)
    for _ in range(3):
        assert (await bob.ask("ping"))["ok"]
    world.gate.set()
    assert [(await alice.next())["id"] for _ in range(2)] == [batch, later]  # alice was not read from meanwhile


async def test_first_pages_beyond_what_a_batch_keeps_are_fetched_when_their_turn_comes(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await gateway.client()
    await make(alice, *"abc")
    frames_of = [world.log.group(group).frames for group in "abc"]
    monkeypatch.setattr(batch, "PAGES_BYTES", len(b"".join(frames_of[0] + frames_of[1])))
    reply = await alice.ask("subscribe", groups=[{"group": group, "after": 0} for group in "abc"])
    events = [await alice.next() for _ in "abc"]
    assert [result["from"] for result in reply["results"]] == [1, 1, 1]
    assert sorted((event["group"], event["seq"]) for event in events) == [("a", 1), ("b", 1), ("c", 1)]
    assert [read.group for read in world.reads if isinstance(read, ReadEvents)] == ["c"]


async def test_a_group_of_a_batch_that_fails_is_refused_alone(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await gateway.client()
    await make(alice, *"abc")
    answer = world.answer

    def failing(read: AnyRead) -> Answer:
        if read.group == "b":
            raise RuntimeError("a bug")
        return answer(read)

    monkeypatch.setattr(world, "answer", failing)
    reply = await alice.ask("subscribe", groups=[{"group": group} for group in "abc"])
    told = ["ok" if each["ok"] else each["error"]["code"] for each in reply["results"]]
    assert told == ["ok", "internal", "ok"]
    assert followed(world, *"abc") == "ac"


async def test_the_name_of_another_log_crowds_nobody_out_however_long_it_is(gateway: Gateway, world: World) -> None:
    alice = await gateway.client()
    await make(alice, "g")
    assert (await alice.ask("subscribe", group="g", after=0, log="x" * 60_000))["ok"]
    [read] = world.reads
    assert isinstance(read, ReadSubscription)
    assert read.log == "x" * 64


async def test_any_number_of_requests_wait_for_a_slow_read_of_their_group(gateway: Gateway, world: World) -> None:
    alice = await gateway.client()
    await make(alice, "g")
    world.gate.clear()
    numbers = [await alice.start("subscribe", group="g")]
    numbers += [await alice.start("unsubscribe", group="g") for _ in range(250)]
    assert (await alice.ask("ping"))["ok"]
    world.gate.set()
    assert [(await alice.reply(number))["ok"] for number in numbers] == [True] * 251
    assert not world.hub.follows(b"g")
