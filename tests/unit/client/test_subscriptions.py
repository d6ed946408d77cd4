"""Subscriptions: where they begin and how they end, and many at once."""

import asyncio

import pytest
from auerbach_client import ChatError, Event, Reset

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from tests.unit.client.conftest import MakeClient, posted, seqs, take


@pytest.mark.parametrize(("where", "first"), [({"after": 0}, 1), ({"after": 2}, 3), ({"last": 2}, 4), ({}, 6)])
async def test_a_run_begins_where_it_was_asked_to(client: MakeClient, where: dict[str, int], first: int) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        await posted(alice, 4)
        async with alice.subscribe("g", **where) as events:  # type: ignore[arg-type]
            await posted(alice, 3)
            items = await take(events, 8 - first + 1)

    assert seqs(items) == list(range(first, 9))
    assert events.head == 5
    assert events.state is not None
    assert events.state.name == "G"


async def test_an_event_brings_the_very_bytes_of_the_log(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="Grüße 🎉")
        async with alice.subscribe("g", after=0) as events:
            [event] = await take(events, 1)

    assert isinstance(event, Event)
    assert event.raw == gateway.log.group("g").frames[0]
    assert (event.kind, event.by, event.data["name"]) == ("group.created", "alice", "Grüße 🎉")


async def test_a_run_ends_with_the_event_that_ends_the_membership(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", join="open")
        await bob.join("g")
        await bob.leave("g")
        await bob.join("g")
        async with bob.subscribe("g", after=0) as events:
            await alice.remove_member("g", "bob")
            async with asyncio.timeout(30):
                kinds = [event.kind async for event in events if isinstance(event, Event)]
        gateway.cut()
        await bob.ping()

    assert kinds == ["group.created", "member.joined", "member.left", "member.joined", "member.removed"]
    assert len([1 for user, frame in gateway.requests if (user, frame["type"]) == ("bob", "subscribe")]) == 1


async def test_a_run_ends_with_the_end_of_the_group_and_its_next_life_is_another(client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with alice.subscribe("g") as hers, bob.subscribe("g") as his:
            await alice.delete_group("g")
            await alice.create_group("g", name="H", members=[{"user": "bob"}])
            async with asyncio.timeout(30):
                runs = [[item.kind async for item in events if isinstance(item, Event)] for events in (hers, his)]
        async with bob.subscribe("g", after=1, log=bob.hello.log) as again:
            items = await take(again, 2)

    assert runs == [["group.deleted"]] * 2
    assert items[0] == Reset("g", 3)
    assert seqs(items) == [3]


async def test_a_membership_lost_while_away_is_an_error(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with bob.subscribe("g") as events:
            gateway.away = {"bob"}
            gateway.cut()
            await alice.remove_member("g", "bob")
            gateway.away = set()
            with pytest.raises(ChatError) as gone:
                await take(events, 2)

    assert gone.value.code == "not_a_member"


async def test_a_refused_subscription_raises_and_may_be_tried_again(client: MakeClient) -> None:
    async with client() as alice:
        with pytest.raises(ChatError, match="no_such_group"):
            await take(alice.subscribe("g"), 1)
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=0) as events:
            items = await take(events, 1)

    assert seqs(items) == [1]


async def test_only_one_subscription_a_group_and_one_beginning(client: MakeClient) -> None:
    async with client() as alice:
        alice.subscribe("g")
        with pytest.raises(ValueError, match="already"):
            alice.subscribe("g")
        with pytest.raises(ValueError, match="exclude"):
            alice.subscribe("h", after=1, last=1)


async def test_leaving_a_subscription_unsubscribes(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g"):
            assert [session.follows for session in gateway.sessions] == [{"g"}]
        await until(lambda: [session.follows for session in gateway.sessions] == [set()])


async def test_many_groups_are_resumed_with_one_request(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        groups = [f"g{i}" for i in range(5)]
        for group in groups:
            await alice.create_group(group, name=group)
        runs = [await alice.subscribe(group).__aenter__() for group in groups]
        asked = len(gateway.requests)
        gateway.cut()
        await until(lambda: gateway.connections == 2)
        for group in groups:
            await posted(alice, 1, group)
        items = [await take(run, 1) for run in runs]

    resumed = [frame for _, frame in gateway.requests[asked:] if frame["type"] == "subscribe"]
    assert [len(frame["groups"]) for frame in resumed] == [5]
    assert [seqs(each) for each in items] == [[2]] * 5


async def test_a_thousand_groups_begin_and_resume_a_hundred_a_request_and_lose_nothing(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client("alice") as alice, client("bob") as bob:
        groups = [f"g{i}" for i in range(1000)]
        for group in groups:
            await alice.create_group(group, name=group, members=[{"user": "bob"}])
        runs = [bob.subscribe(group, after=0, state=False) for group in groups]
        first = await asyncio.gather(*(take(run, 1) for run in runs))
        began = [len(frame["groups"]) for _, frame in gateway.requests if frame["type"] == "subscribe"]
        gateway.requests.clear()
        gateway.cut()
        for group in groups:
            await alice.send(group, "hi")
        then = await asyncio.gather(*(take(run, 1) for run in runs))

    resumed = [len(frame["groups"]) for _, frame in gateway.requests if frame["type"] == "subscribe"]
    assert [seqs(items) for items in first] == [[1]] * 1000
    assert [seqs(items) for items in then] == [[2]] * 1000
    assert began == resumed == [100] * 10


async def test_a_group_of_a_batch_that_is_refused_ends_alone(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        runs = [alice.subscribe(group, after=0, state=False) for group in ("g", "nothing")]
        items, refused = await asyncio.gather(*(take(run, 1) for run in runs), return_exceptions=True)

    assert isinstance(items, list)
    assert seqs(items) == [1]
    assert isinstance(refused, ChatError)
    assert refused.code == "no_such_group"
    assert len([1 for _, frame in gateway.requests if frame["type"] == "subscribe"]) == 1


async def test_what_is_asked_for_while_there_is_no_connection_is_asked_once_there_is(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.handshakes = [503] * 10_000
        gateway.cut()
        await until(lambda: not alice.online)
        taking = asyncio.create_task(take(alice.subscribe("g", after=0), 1))
        closed = alice.subscribe("h")
        await closed.aclose()
        gateway.handshakes = []
        items = await taking

    assert seqs(items) == [1]
    assert [frame.get("group") for _, frame in gateway.requests if frame["type"] == "subscribe"] == ["g"]


async def test_a_subscription_that_is_closed_before_it_was_sent_is_not_sent(
    gateway: FakeGateway, client: MakeClient
) -> None:
    gateway.limits["requests_per_second"] = 0.001  # one at once, and the next in a quarter of an hour
    async with client() as alice:
        await alice.create_group("g", name="G")
        for _ in range(20):
            run = alice.subscribe("g")
            beginning = asyncio.create_task(anext(run))
            await until(lambda run=run: run.asked)  # type: ignore[misc]
            await run.aclose()
            with pytest.raises(StopAsyncIteration):
                await beginning
        waiting = list(alice._session.link._outbox)

    assert waiting == []
    assert [frame["type"] for _, frame in gateway.requests] == ["create_group"]


async def test_a_subscription_that_is_refused_for_now_is_asked_for_again(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.subscribe_refusals = ["unavailable"] * 12
        items = await take(alice.subscribe("g", after=0), 1)

    assert seqs(items) == [1]
    assert len([1 for _, frame in gateway.requests if frame["type"] == "subscribe"]) == 13


async def test_a_first_subscription_is_refused_for_now_only_until_the_deadline(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
) -> None:
    async with client(request_timeout_s=50) as alice:
        await alice.create_group("g", name="G")
        gateway.subscribe_refusals = ["unavailable"] * 100_000
        beginning = asyncio.create_task(anext(alice.subscribe("g", after=0)))
        await until(lambda: len(gateway.subscribe_refusals) < 99_990)
        refused_early = beginning.done()
        await clock.put_forward(50)
        with pytest.raises(ChatError, match="unavailable"):
            await asyncio.wait_for(beginning, 30)

    assert not refused_early
