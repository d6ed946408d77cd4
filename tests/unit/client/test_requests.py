"""Requests: their outcomes, how many are open, and what ends them."""

import asyncio
import contextlib

import pytest
from auerbach_client import ChatError, EndedError
from auerbach_client.lanes import Lanes

from tests.support.fake_gateway import FakeGateway
from tests.support.until import until
from tests.unit.client.conftest import MakeClient


async def test_every_request_of_the_road_gets_its_outcome(client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        made = await alice.create_group("g", name="G", join="open", members=[{"user": "carol"}])
        joined = await bob.join("g")
        sent = await bob.send("g", "hi", attributes={"a": 1})
        added = await alice.add_member("g", "dave", role="reader")
        removed = await alice.remove_member("g", "dave", ban=True)
        left = await bob.leave("g")
        await alice.ping()
        page = await alice.history("g", limit=10)
        state = await alice.state("g")

    assert [ack.seq for ack in (made, joined, sent, added, removed, left)] == [1, 2, 3, 4, 5, 6]
    assert not any(ack.duplicate for ack in (made, joined, sent, added, removed, left))
    assert [(m.by, m.text, m.attributes) for m in page.messages] == [("bob", "hi", {"a": 1})]
    assert not page.more
    assert [m.user for m in state.members] == ["alice", "carol"]


async def test_every_change_of_a_group_gets_its_outcome(client: MakeClient) -> None:
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group("g", name="G", members=[{"user": "bob"}])
        sent = await bob.send("g", "hi")
        acks = [
            await alice.update_group("g", name="H", topic="news", join="open", history="joined"),
            await bob.edit("g", 2, "hi!"),
            await alice.react("g", 2, "👍"),
            await bob.react("g", 2, "👍"),
            await bob.unreact("g", 2, "👍"),
            await alice.remove_member("g", "carol", ban=True),
            await alice.unban("g", "carol"),
            await alice.set_role("g", "bob", "owner"),
        ]
        nothing = await alice.react("g", 2, "👍")
        [edited] = (await bob.history("g")).messages
        deleted = await bob.delete("g", 2)
        [gone] = (await bob.history("g")).messages
        now, then = await bob.state("g"), await bob.state("g", at_seq=2)
        first = await bob.members("g", limit=1)
        second = await bob.members("g", limit=1, cursor=first.cursor)
        ended = await bob.delete_group("g")

    assert [ack.seq for ack in (sent, *acks, deleted, ended)] == list(range(2, 13))
    assert (nothing.seq, nothing.duplicate) == (None, False)
    assert (edited.text, edited.edited_at is not None, edited.reactions) == ("hi!", True, {"👍": ("alice",)})
    assert (gone.text, gone.deleted) == (None, True)
    assert (now.name, now.topic, now.join, now.history) == ("H", "news", "open", "joined")
    assert (then.name, then.topic, then.join, then.history) == ("G", "", "invite", "all")
    assert [(m.user, m.role) for m in (*first.members, *second.members)] == [("alice", "admin"), ("bob", "owner")]
    assert second.cursor is None


async def test_a_change_is_repeated_with_the_id_that_was_given(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        acks = [await alice.update_group("g", topic="t", client_msg_id="c1") for _ in range(2)]

    assert [(ack.seq, ack.duplicate) for ack in acks] == [(2, False), (2, True)]


async def test_a_group_without_an_id_gets_one_from_the_server(client: MakeClient) -> None:
    async with client() as alice:
        first = await alice.create_group(name="G", client_msg_id="c1")
        again = await alice.create_group(name="G", client_msg_id="c1")

    assert first.group == again.group != ""
    assert (first.duplicate, again.duplicate) == (False, True)


async def test_a_refusal_is_raised_with_its_code_and_field(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        with pytest.raises(ChatError) as refused:
            await alice.send("g", "")

    error = refused.value
    assert (error.code, error.field, error.temporary) == ("invalid", "text", False)
    assert error.client_msg_id


async def test_no_more_requests_are_open_than_allowed(gateway: FakeGateway, client: MakeClient) -> None:
    async with client(in_flight=3, pipeline=10) as alice:
        await alice.create_group("g", name="G")
        gateway.reply_delay_s = 3600
        sending = [asyncio.create_task(alice.send("g", f"m{i}")) for i in range(10)]
        await until(lambda: gateway.log.group("g").state.seq == 4)
        await settled(gateway)
        open_at_most = gateway.log.group("g").state.seq - 1
        gateway.reply_delay_s = 0
        gateway.cut()
        await asyncio.gather(*sending)

    assert open_at_most == 3
    assert gateway.log.group("g").state.seq == 11


async def test_a_group_that_is_refused_for_now_holds_up_no_other(gateway: FakeGateway, client: MakeClient) -> None:
    async with client(in_flight=2) as alice:
        for group in ("g", "h"):
            await alice.create_group(group, name=group)
        gateway.reply_delay_s = 3600
        stuck = [asyncio.create_task(alice.send("g", f"m{i}")) for i in range(5)]
        await until(lambda: gateway.log.group("g").state.seq == 2)
        gateway.reply_delay_s = 0
        async with asyncio.timeout(30):
            ack = await alice.send("h", "hi")
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)

    assert ack.seq == 2


async def test_a_lane_is_kept_only_while_somebody_is_in_it() -> None:
    lanes = Lanes(1)
    async with lanes.turn("g"), lanes.turn("h"), lanes.turn(None):
        within = len(lanes)

    assert (within, len(lanes)) == (2, 0)


async def test_a_call_may_be_cancelled_and_what_was_not_sent_is_not(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.handshakes = [503] * 10_000
        gateway.cut()
        await until(lambda: not alice.online)
        late = [asyncio.create_task(alice.send("g", f"m{i}")) for i in range(3)]
        await asyncio.sleep(0)
        late[1].cancel()
        gateway.handshakes = []
        acks = await asyncio.gather(late[0], late[2])
        page = await alice.history("g")

    assert [ack.seq for ack in acks] == [2, 3]
    assert [m.text for m in page.messages] == ["m0", "m2"]


async def test_calls_that_are_cancelled_while_the_rate_holds_them_back_are_forgotten(
    gateway: FakeGateway, client: MakeClient
) -> None:
    gateway.limits["requests_per_second"] = 0.001
    async with client() as alice:
        await alice.create_group("g", name="G")  # the burst is one, the next goes out in a quarter of an hour
        for _ in range(50):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await alice.ping()
        waiting = len(alice._session.link._outbox) + len(alice._session._requests)

    assert waiting == 0
    assert len(gateway.requests) == 1


async def test_pages_go_back_in_time_or_on_from_a_seq(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        for i in range(7):
            await alice.send("g", f"m{i}")
        back = [[m.seq for m in page.messages] async for page in alice.history_pages("g", limit=3)]
        some = [[m.seq for m in page.messages] async for page in alice.history_pages("g", before=5, limit=2)]
        on = [[m.seq for m in page.messages] async for page in alice.history_pages("g", after=3, limit=3)]

    assert back == [[6, 7, 8], [3, 4, 5], [2]]
    assert some == [[3, 4], [2]]
    assert on == [[4, 5, 6], [7, 8]]


async def test_members_come_in_pages(client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G", members=[{"user": f"u{i}"} for i in range(4)])
        pages = [[m.user for m in page.members] async for page in alice.member_pages("g", limit=2)]

    assert pages == [["alice", "u0"], ["u1", "u2"], ["u3"]]


async def test_an_answer_that_is_not_understood_is_an_error(
    client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        monkeypatch.setattr("tests.support.fake_log.FakeGroup.view", lambda *_: {"name": 7})
        with pytest.raises(ChatError, match="not understood"):
            await alice.state("g")


async def test_a_frame_over_the_limit_is_refused_here_and_not_sent(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        with pytest.raises(ChatError) as refused:
            await alice.send("g", "x" * 70_000)

    assert refused.value.code == "too_large"
    assert not [1 for _, frame in gateway.requests if frame.get("type") == "send"]


async def test_closing_the_client_fails_what_is_open(gateway: FakeGateway, client: MakeClient) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.reply_delay_s = 3600
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: gateway.log.group("g").state.seq == 2)

    with pytest.raises(EndedError):
        await sending
    with pytest.raises(EndedError):
        await alice.send("g", "too late")


async def settled(gateway: FakeGateway) -> None:
    """Let both ends run until neither has anything left to do but wait for replies."""
    seen = -1
    while seen != len(gateway.requests):
        seen = len(gateway.requests)
        for _ in range(50):
            await asyncio.sleep(0)
