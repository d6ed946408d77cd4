"""Runs of events: each once, in order, none skipped, whatever happens to the connection and to the log."""

import asyncio
import random

import pytest
from auerbach_client import Event, Reset, Withheld, bodies

from tests.support.fake_gateway import FakeGateway
from tests.support.until import until
from tests.unit.client.conftest import MakeClient, posted, seqs, take


@pytest.mark.parametrize("seed", range(8))
async def test_a_reader_whose_sockets_are_cut_at_random_ends_with_the_log(
    gateway: FakeGateway, client: MakeClient, seed: int
) -> None:
    chance = random.Random(seed)
    groups = {"g1": 150, "g2": 90, "g3": 40}
    async with client("alice") as alice:
        for group in groups:
            await alice.create_group(group, name=group, members=[{"user": "bob"}])
        gateway.frames_per_socket = lambda: chance.randint(1, 60)
        async with client("bob") as bob:
            reading = {
                group: asyncio.create_task(take(bob.subscribe(group, after=0), count + 1))
                for group, count in groups.items()
            }
            await asyncio.gather(*(posted(alice, count, group) for group, count in groups.items()))
            logs = {group: await task for group, task in reading.items()}

    for group, count in groups.items():
        frames = [item.raw for item in logs[group] if isinstance(item, Event)]
        assert frames == gateway.log.group(group).frames, f"seed {seed}"
        assert len(frames) == count + 1, f"seed {seed}"
    assert gateway.connections > 5


@pytest.mark.parametrize("seed", range(4))
async def test_senders_and_a_reader_that_are_cut_at_random_lose_and_double_nothing(
    gateway: FakeGateway, client: MakeClient, seed: int
) -> None:
    chance = random.Random(seed)
    async with client("alice") as alice, client("bob", reply_timeout_s=0.2) as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        gateway.frames_per_socket = lambda: chance.randint(3, 40)
        gateway.cut()
        gateway.lose_replies = 3
        reading = asyncio.create_task(take(alice.subscribe("g", after=0), 121))
        acks = await asyncio.gather(*(bob.send("g", f"m{i}", client_msg_id=f"c{i}") for i in range(120)))
        items = await reading

    ids = [item.client_msg_id for item in items[1:] if isinstance(item, Event)]
    assert sorted(ids, key=str) == sorted((f"c{i}" for i in range(120)), key=str)
    assert {f"c{i}": ack.seq for i, ack in enumerate(acks)} == {
        item.client_msg_id: item.seq for item in items[1:] if isinstance(item, Event)
    }


async def test_an_event_that_comes_twice_is_shown_once(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=0) as events:
            gateway.double_live = 3
            await posted(alice, 5)
            items = await take(events, 6)

    assert seqs(items) == [1, 2, 3, 4, 5, 6]


async def test_a_gap_is_fetched_again_and_not_skipped(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=0) as events:
            await take(events, 1)
            gateway.skip_live = 2
            await posted(alice, 5)
            items = await take(events, 5)

    asked = [frame for _, frame in gateway.requests if frame["type"] == "subscribe"]
    assert seqs(items) == [2, 3, 4, 5, 6]
    assert [frame["after"] for frame in asked] == [0, 1]
    assert gateway.connections == 1


async def test_withheld_events_are_one_item_in_their_place(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", join="open", history="joined")
        await posted(alice, 3)
        await bob.join("g")
        await posted(alice, 2)
        async with bob.subscribe("g", after=0) as events:
            [withheld] = await take(events, 1)
            position = events.position
            before = await take(events, 3)
            gateway.cut()
            await posted(alice, 1)
            after = await take(events, 1)

    assert (withheld, position) == (Withheld("g", 1, 4), 4)
    assert seqs(before) == [5, 6, 7]
    assert seqs(after) == [8]
    assert len([1 for user, frame in gateway.requests if (user, frame["type"]) == ("bob", "subscribe")]) == 2


async def test_withheld_events_behind_a_gap_do_not_hide_it(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=0) as events:
            await take(events, 1)
            [session] = gateway.sessions
            session.put(b'{"type":"withheld","group":"g","from":3,"through":4}')
            await posted(alice, 4)
            items = await take(events, 4)
            assert not [item for item in items if isinstance(item, Withheld)]
        asked = [frame["after"] for _, frame in gateway.requests if frame["type"] == "subscribe"]
        assert asked == [0, 1]

    assert seqs(items) == [2, 3, 4, 5]


async def test_a_lost_log_resets_what_the_consumer_holds(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="old")
        await posted(alice, 5)
        async with alice.subscribe("g", after=0) as events:
            await take(events, 6)
            old_log = events.log
            gateway.forget()
            async with client() as other:  # the group exists again before the reader is back
                await other.create_group("g", name="new")
                gateway.cut()
                reset = await take(events, 1)
                await posted(other, 1)
                [event] = await take(events, 1)

    assert reset == [Reset("g", 2)]
    assert isinstance(event, Event)
    assert event.raw == gateway.log.group("g").frames[1]
    assert events.log == gateway.log.id != old_log


async def test_what_is_queued_of_a_lost_log_is_not_shown(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="old")
        async with alice.subscribe("g", after=0) as events:
            await posted(alice, 5)
            await until(lambda: events.cursor == 6)
            gateway.forget()
            async with client() as other:
                await other.create_group("g", name="new")
            gateway.cut()
            await until(lambda: isinstance(events._queue[0], Reset))
            items = await take(events, 1)

    assert items == [Reset("g", 2)]


async def test_position_and_log_stay_a_pair_until_the_reset_is_taken(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="old")
        await posted(alice, 5)
        async with alice.subscribe("g", after=0) as events:
            await take(events, 4)
            before = (events.position, events.log)
            gateway.forget()
            async with client() as other:
                await other.create_group("g", name="new")
            gateway.cut()
            await until(lambda: isinstance(events._queue[0], Reset))
            waiting = (events.position, events.log)
            await take(events, 1)
            taken = (events.position, events.log)

    assert before == waiting == (4, before[1])
    assert taken == (1, gateway.log.id)
    assert before[1] != gateway.log.id


@pytest.mark.parametrize("where", [{"after": 0}, {"last": 9}])
async def test_what_was_queued_when_a_run_was_closed_is_not_counted_as_taken(
    client: MakeClient, where: dict[str, int]
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        await posted(alice, 5)
        async with alice.subscribe("g", **where) as events:  # type: ignore[arg-type]
            await until(lambda: events.cursor == 6)
            untaken = events.position
            await take(events, 2)

    assert (untaken, events.position, events.log) == (0, 2, alice.hello.log)


async def test_a_cursor_of_another_log_is_reset_at_the_first_subscription(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=1, log="another") as events:
            items = await take(events, 1)

    assert items == [Reset("g", 2)]


async def test_position_and_log_resume_a_run_in_another_client(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        await posted(alice, 9)
        async with alice.subscribe("g", after=0) as events:
            first = await take(events, 4)
            position, log = events.position, events.log
    async with client() as later, later.subscribe("g", after=position, log=log) as events:
        rest = await take(events, 6)

    assert position == 4
    assert seqs(first + rest) == list(range(1, 11))


async def test_an_event_of_an_unknown_kind_is_passed_on_and_moves_the_cursor(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.subscribe("g", after=0) as events:
            await take(events, 1)
            [session] = gateway.sessions
            session.put(
                b'{"type":"event","group":"g","seq":2,"id":"e","kind":"poll.opened","by":"bob","at":"2026-11-25T01:20:00.123Z",'
                b'"data":{"question":"?"},"newer":1}'
            )
            [event] = await take(events, 1)

    assert isinstance(event, Event)
    assert (event.kind, event.body) == ("poll.opened", bodies.Unknown(data={"question": "?"}))
    assert events.position == 2
