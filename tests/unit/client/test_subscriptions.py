"""Subscriptions: each event once, in order, none skipped, whatever happens to the connection."""

import asyncio
import random

import pytest
from auerbach_client import ChatError, Client, Event, Item, Reset, Subscription, Withheld, bodies
from auerbach_client.subscription import Phase

from tests.support.fake_gateway import FakeGateway
from tests.support.until import until
from tests.unit.client.conftest import Clock, MakeClient, held_up


async def take(events: Subscription, count: int) -> list[Item]:
    """The next `count` items."""
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


async def posted(chat: Client, count: int, group: str = "g") -> None:
    """`count` messages in a group."""
    await asyncio.gather(*(chat.send(group, f"m{i}") for i in range(count)))


def seqs(items: list[Item]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


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
    gateway: FakeGateway, client: MakeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
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
    gateway: FakeGateway, client: MakeClient, clock: Clock
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
