"""Consumers that are behind: they lose nothing, and hold up neither replies nor other groups."""

import asyncio

import pytest
from auerbach_client import Event
from auerbach_client.subscription import Phase

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from tests.unit.client.conftest import MakeClient, held_up, posted, seqs, take


async def test_a_consumer_that_is_behind_gets_everything_and_holds_up_nobody(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client("alice") as alice, client("bob", reply_timeout_s=30) as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with bob.subscribe("g", after=0, queue_events=8) as events:
            await posted(alice, 60)
            await bob.ping()  # the reply is behind more events than the queue takes
            queued = len(events._queue)
            await posted(alice, 40)
            items = await take(events, 101)

    assert queued <= 8
    assert seqs(items) == list(range(1, 102))
    assert gateway.connections == 2


async def test_a_request_is_answered_though_a_full_queue_holds_up_the_socket(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.feed._PATIENCE_S", 3600)
    async with client("alice") as alice, client("bob", reply_timeout_s=30) as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with bob.subscribe("g", after=0, queue_events=4) as events:
            await posted(alice, 20)
            await until(events.full)
            async with asyncio.timeout(30):
                await bob.ping()
            items = await take(events, 21)

    assert seqs(items) == list(range(1, 22))


async def test_many_full_queues_do_not_make_a_reply_overdue(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.feed._PATIENCE_S", 25)
    async with client("alice") as alice, client("bob", reply_timeout_s=30) as bob:
        runs = []
        for i in range(10):
            await alice.create_group(f"g{i}", name="G", members=[{"user": "bob"}])
            runs.append(await bob.subscribe(f"g{i}", queue_events=1).__aenter__())
        for i in range(10):
            await posted(alice, 3, f"g{i}")
        await until(lambda: held_up(bob))
        await clock.put_forward(25)  # the first is let go; nobody is waited for while the reply to that is to come
        await until(lambda: all(run.phase is Phase.PARKED for run in runs))
        await bob.ping()
        items = [await take(run, 3) for run in runs]

    assert [seqs(each) for each in items] == [[2, 3, 4]] * 10
    assert gateway.connections == 2


async def test_a_consumer_that_asks_within_its_loop_gets_its_reply(client: MakeClient) -> None:
    async with client("alice") as alice:
        await alice.create_group("g", name="G")
        await posted(alice, 100)
        seen = []
        async with asyncio.timeout(60), alice.subscribe("g", after=0, queue_events=4) as events:
            async for event in events:
                await alice.ping()
                assert isinstance(event, Event)
                seen.append(event.seq)
                if event.seq == 101:
                    break

    assert seen == list(range(1, 102))


@pytest.mark.parametrize("frame", ["member.removed", "group.deleted", "withheld"])
async def test_a_run_that_is_closed_while_a_frame_waits_for_room_takes_nothing_more_and_harms_no_other(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    monkeypatch.setattr("auerbach_client.feed._PATIENCE_S", 3600)
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        await alice.create_group("h", name="H", members=[{"user": "bob"}])
        [his] = [session for session in gateway.sessions if session.user == "bob"]
        async with bob.subscribe("h", after=0) as others:
            events = await bob.subscribe("g", queue_events=1).__aenter__()
            await posted(alice, 1)
            await until(events.full)
            holding = bob._session.feed._hurried
            holding.set()  # cleared once the next frame waits
            if frame == "member.removed":
                await alice.remove_member("g", "bob")
            elif frame == "group.deleted":
                await alice.delete_group("g")
            else:
                his.put(b'{"type":"withheld","group":"g","from":3,"through":4}')
            await until(lambda: not holding.is_set())
            await take(events, 1)  # there is room, and at once nobody who wants it
            await events.aclose()
            await alice.send("h", "hi")
            items = await take(others, 2)
            await bob.ping()

    assert seqs(items) == [1, 2]
    assert not events._queue
    assert events.phase is Phase.OVER


@pytest.mark.parametrize("ends", ["the run", "the client"])
async def test_a_run_that_ends_as_the_feed_begins_to_wait_for_room_is_not_waited_for(
    client: MakeClient, ends: str
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        events = await alice.subscribe("g", queue_events=1).__aenter__()
        await posted(alice, 1)
        await until(events.full)
        waiting = events.room()
        await (events if ends == "the run" else alice).aclose()
        async with asyncio.timeout(30):
            await waiting
