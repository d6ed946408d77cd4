"""Conversations: what is shown is the fold of the log, each message once, with the echoes of one's own."""

import asyncio
import random
from typing import Any

import pytest
from auerbach_client import ChatError, Client, Conversation, EndedError, Message, Status

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from tests.unit.client.conftest import MakeClient


def texts(room: Conversation) -> list[str | None]:
    return [message.text for message in room.messages]


def shown(room: Conversation) -> list[dict[str, Any]]:
    """The messages as history items."""
    return [as_item(message) for message in room.messages]


def as_item(message: Message) -> dict[str, Any]:
    names = ("seq", "id", "by", "at", "client_msg_id", "text", "reply_to", "edited_at", "reactions")
    return {name: getattr(message, name) for name in names}


async def served(chat: Client, group: str = "g") -> list[dict[str, Any]]:
    """The whole history as the server gives it, in the same form."""
    pages = [page async for page in chat.history_pages(group, limit=7)]
    return [as_item(Message.of_item(item)) for page in reversed(pages) for item in page.messages]


async def caught_up(room: Conversation, gateway: FakeGateway, group: str = "g") -> None:
    await room.settled()
    await until(lambda: room.seq == gateway.log.group(group).state.seq)


async def test_a_message_is_shown_at_once_and_stays_the_same_object_when_it_is_posted(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            echo = room.post("hello", mentions=["bob"], attributes={"a": 1})
            at_once = (room.messages, echo.status, echo.seq)
            await caught_up(room, gateway)
            later = room.messages

    assert at_once == ((echo,), Status.PENDING, None)
    assert later == (echo,)
    assert (echo.status, echo.seq, echo.by, echo.text) == (Status.POSTED, 2, "alice", "hello")
    assert echo.id == gateway.log.group("g").events[1].id


async def test_the_reply_may_come_long_before_the_event(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with alice.conversation("g") as room:
            gateway.skip_live = 2
            await bob.send("g", "before")
            echo = room.post("mine")
            await room.settled()
            known = (echo.status, echo.seq, texts(room))
            await bob.send("g", "after")  # shows the gap
            await caught_up(room, gateway)

    assert known == (Status.POSTED, 3, ["mine"])
    assert texts(room) == ["before", "mine", "after"]
    assert room.messages[1] is echo
    assert echo.id is not None


async def test_the_event_may_come_before_the_reply(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.reply_delay_s = 3600
            echo = room.post("mine")
            await until(lambda: echo.status is Status.POSTED)
            gateway.reply_delay_s = 0
            gateway.cut()  # the request is repeated, and is a duplicate
            await until(lambda: gateway.connections == 2)
            await alice.ping()

    assert texts(room) == ["mine"]
    assert len(gateway.log.group("g").events) == 2


async def test_messages_are_posted_in_the_order_of_the_calls_though_some_are_refused_for_now(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.refusals = ["unavailable", "timeout", "rate_limited", "unavailable"]
            for i in range(10):
                room.post(f"m{i}")
            await caught_up(room, gateway)

    assert texts(room) == [f"m{i}" for i in range(10)]


async def test_a_refused_message_is_kept_and_may_be_retried_or_discarded(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.refusals = ["forbidden", "forbidden"]
            first, second = room.post("one"), room.post("two")
            await room.settled()
            failed = [(m.status, m.error.code if isinstance(m.error, ChatError) else None) for m in room.messages]
            room.retry(first)
            room.discard(second)
            await caught_up(room, gateway)

    assert failed == [(Status.FAILED, "forbidden")] * 2
    assert room.messages == (first,)
    assert (first.status, first.error, first.seq) == (Status.POSTED, None, 2)


async def test_a_message_of_unknown_outcome_that_was_taken_becomes_posted(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
) -> None:
    async with client(request_timeout_s=50) as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.skip_live = gateway.lose_replies = 1
            echo = room.post("mine")
            await until(lambda: gateway.log.group("g").state.seq == 2)
            await clock.put_forward(50)
            await room.settled()
            failed = echo.status
            room.retry(echo)
            await room.settled()

    assert failed is Status.FAILED
    assert (room.messages, echo.status, echo.seq) == ((echo,), Status.POSTED, 2)
    assert len(gateway.log.group("g").events) == 2


async def test_an_id_that_was_used_before_shows_its_message_once(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        await alice.send("g", "mine", client_msg_id="c1")
        async with alice.conversation("g") as room:
            again = room.post("mine", client_msg_id="c1")
            await caught_up(room, gateway)

    assert texts(room) == ["mine"]
    assert (again.status, again.seq) == (Status.POSTED, 2)


async def test_scrolling_back_merges_pages_and_stops_at_the_beginning(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        for i in range(25):
            await alice.send("g", f"m{i}")
        async with alice.conversation("g", recent=5) as room:
            sizes = [len(room.messages)]
            while room.more:
                sizes.append(await room.older(10))
            nothing = await room.older(10)
            await alice.send("g", "new")
            await caught_up(room, gateway)

    assert (sizes, nothing) == ([5, 10, 10], 0)
    assert texts(room) == [*(f"m{i}" for i in range(25)), "new"]


async def test_what_is_held_is_bounded_and_comes_again_by_scrolling_back(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        for i in range(8):
            await alice.send("g", f"m{i}")
        async with alice.conversation("g", recent=3, most=5) as room:
            added = [await room.older(50), await room.older(50)]
            for i in range(8, 12):
                room.post(f"m{i}")
            await caught_up(room, gateway)

    assert added == [2, 0]
    assert texts(room) == [f"m{i}" for i in range(7, 12)]
    assert room.more


async def test_a_change_that_comes_while_its_message_is_on_its_way_in_a_page_is_not_lost(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        for i in range(6):
            await bob.send("g", f"m{i}")
        async with alice.conversation("g", recent=2) as room:
            gateway.reads_held = asyncio.Event()  # the page is read now, and sent later
            paging = asyncio.create_task(room.older(10))
            await until(lambda: gateway.requests[-1][1].get("before"))
            await bob.react("g", 3, "👍")
            await bob.edit("g", 2, "edited")
            await bob.delete("g", 4)
            await caught_up(room, gateway)
            gateway.reads_held.set()
            await paging
            expected = await served(alice)

    assert texts(room)[:3] == ["edited", "m1", None]
    assert shown(room) == expected


async def test_a_conversation_takes_up_after_a_lost_log_with_what_is_there_now(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="old", members=[{"user": "bob"}])
        await alice.send("g", "void")
        async with alice.conversation("g") as room:
            gateway.forget()
            await bob.create_group("g", name="new", members=[{"user": "alice"}])
            await bob.send("g", "there")
            gateway.cut()
            await until(lambda: room.name == "new" and texts(room) == ["there"])
            await bob.send("g", "next")
            await caught_up(room, gateway)

    assert texts(room) == ["there", "next"]
    assert dict(room.members) == {"bob": "owner", "alice": "member"}


async def test_a_page_of_a_log_that_is_void_meanwhile_is_not_shown(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="old", members=[{"user": "bob"}])
        for i in range(6):
            await alice.send("g", f"void{i}")
        async with alice.conversation("g", recent=2) as room:
            [session] = [each for each in gateway.sessions if each.user == "alice"]
            gateway.reads_held = asyncio.Event()
            paging = asyncio.create_task(room.older(3))
            await until(lambda: gateway.requests[-1][1].get("before"))
            gateway.forget()
            await bob.create_group("g", name="new", members=[{"user": "alice"}])
            await bob.send("g", "there")
            # The same socket is told that its run is void, while the page is on its way.
            room._run._source.resume(room._run)
            await until(lambda: not room.messages)
            gateway.reads_held.set()
            await paging
            await until(lambda: texts(room) == ["there"])

    assert session.user == "alice"


async def test_updates_come_after_changes_and_end_with_the_membership(gateway: FakeGateway, client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with bob.conversation("g") as room:
            seen: list[list[str | None]] = []

            async def look() -> None:
                seen.extend([texts(room) async for _ in room.updates()])

            looking = asyncio.create_task(look())
            await alice.send("g", "hello")
            await until(lambda: texts(room) == ["hello"])
            await alice.remove_member("g", "bob")
            await asyncio.wait_for(looking, 30)

    assert seen[0] == []
    assert seen[-1] == ["hello"]
    assert room.ending is not None
    assert (room.ending.kind, room.error) == ("member.removed", None)


async def test_a_membership_that_ended_while_away_is_an_error_of_the_updates(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        async with bob.conversation("g") as room:
            gateway.away = {"bob"}
            gateway.cut()
            await alice.remove_member("g", "bob")
            gateway.away = set()
            with pytest.raises(ChatError, match="not_a_member"):
                async for _ in room.updates():
                    pass


async def test_a_refused_conversation_raises_and_leaves_nothing_behind(client: MakeClient) -> None:
    async with client() as alice:
        with pytest.raises(ChatError, match="no_such_group"):
            async with alice.conversation("g"):
                pass
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            members = dict(room.members)

    assert members == {"alice": "owner"}


async def test_closing_ends_what_is_on_its_way_and_says_so(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.reply_delay_s, gateway.skip_live = 3600, 1
            echo = room.post("mine")
            await until(lambda: gateway.log.group("g").state.seq == 2)
        with pytest.raises(RuntimeError, match="closed"):
            room.post("more")
        updates = [version async for version in room.updates()]

    assert (echo.status, type(echo.error)) == (Status.FAILED, EndedError)
    assert len(updates) == 1


async def test_echoes_without_an_outcome_are_bounded(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auerbach_client.outbox._MOST_PENDING", 3)
    async with client() as alice:
        await alice.create_group("g", name="G")
        async with alice.conversation("g") as room:
            gateway.reply_delay_s = gateway.skip_live = 3600
            for i in range(3):
                room.post(f"m{i}")
            with pytest.raises(ChatError, match="overloaded"):
                room.post("one more")


CHANGES = ["post", "post", "send", "react", "react", "unreact", "edit", "delete", "member", "set"]


@pytest.mark.parametrize("seed", range(20))
async def test_any_run_of_changes_and_cuts_is_shown_as_the_server_shows_it(
    gateway: FakeGateway, client: MakeClient, seed: int
) -> None:
    # Of each kind of change as many whatever happens in between; when sockets are cut is drawn apart from it.
    chance, cuts = random.Random(seed), random.Random(seed)
    steps = CHANGES * (150 // len(CHANGES))
    chance.shuffle(steps)
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", join="open", members=[{"user": "bob"}])
        gateway.frames_per_socket = lambda: cuts.randint(5, 80)
        gateway.cut()
        async with alice.conversation("g", recent=10) as room:
            for step, change in enumerate(steps):
                await act(chance, change, step, room, alice, bob, gateway)
            gateway.skip_live = 0
            await bob.send("g", "last")  # shows a gap if there is one
            await caught_up(room, gateway)
            gateway.frames_per_socket = lambda: float("inf")
            while room.more:
                await room.older(20)
            await caught_up(room, gateway)
            expected, state = await served(alice), await alice.state("g")

    assert shown(room) == expected, f"seed {seed}"
    assert (room.name, room.topic, room.join, room.history) == (state.name, state.topic, state.join, state.history)
    assert dict(room.members) == {member.user: member.role for member in state.members}
    assert len(room.messages) >= 1 + steps.count("post")
    assert gateway.connections > 5


async def act(
    chance: random.Random,
    change: str,
    step: int,
    room: Conversation,
    alice: Client,
    bob: Client,
    gateway: FakeGateway,
) -> None:
    """One change of the group, most of them at random messages."""
    posted = list(gateway.log.group("g").items)
    who, target = chance.choice([alice, bob]), chance.choice(posted or [1])
    gateway.skip_live = chance.random() < 0.05
    try:
        match change:
            case "post":
                room.post(f"a{step}")
            case "send":
                await bob.send("g", f"b{step}", reply_to=None if target == 1 else target)
            case "react":
                await who.react("g", target, chance.choice("👍🎉"))
            case "unreact":
                await who.unreact("g", target, chance.choice("👍🎉"))
            case "edit":
                await who.edit("g", target, f"e{step}")
            case "delete":
                if chance.random() < 0.3:
                    await who.delete("g", target)
            case "member":
                user = f"u{chance.randint(1, 4)}"
                await chance.choice([alice.add_member, alice.remove_member])("g", user)
            case "set":
                await alice.update_group("g", name=f"n{step}", topic=f"t{step}")
    except ChatError as refused:
        if refused.code not in {"no_such_message", "forbidden", "already_a_member", "not_a_member"}:
            raise
    if chance.random() < 0.1 and room.more:
        await room.older(chance.randint(1, 8))
