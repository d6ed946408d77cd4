"""Requests: their outcomes, and that a repetition never takes effect twice."""

import asyncio

import pytest
from auerbach_client import ChatError, EndedError

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
    assert (edited.text, edited.edited_at, edited.reactions) == ("hi!", acks[1].at, {"👍": ("alice",)})
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


async def test_a_lost_reply_leads_to_a_repetition_that_takes_effect_once(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client(reply_timeout_s=0.1) as alice:
        await alice.create_group("g", name="G")
        gateway.lose_replies = 1
        ack = await alice.send("g", "once")
        page = await alice.history("g")

    assert ack.duplicate
    assert [(m.seq, m.text) for m in page.messages] == [(ack.seq, "once")]
    assert gateway.connections == 2


async def test_what_was_asked_before_a_cut_is_repeated_in_its_order_and_takes_effect_once(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client(pipeline=20) as alice:
        await alice.create_group("g", name="G")
        gateway.reply_delay_s = 3600  # nothing is answered on this connection
        sending = [asyncio.create_task(alice.send("g", f"m{i}")) for i in range(20)]
        await until(lambda: gateway.log.group("g").state.seq == 21)
        gateway.reply_delay_s = 0
        gateway.cut()
        acks = await asyncio.gather(*sending)
        page = await alice.history("g", limit=200)

    assert [ack.seq for ack in acks] == list(range(2, 22))
    assert all(ack.duplicate for ack in acks)
    assert [m.text for m in page.messages] == [f"m{i}" for i in range(20)]


@pytest.mark.parametrize("code", ["timeout", "unavailable", "rate_limited"])
async def test_a_request_refused_for_now_is_repeated_with_its_id(
    gateway: FakeGateway, client: MakeClient, code: str
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = [code] * 3
        ack = await alice.send("g", "hi")

    sends = [frame for _, frame in gateway.requests if frame["type"] == "send"]
    assert ack.seq == 2
    assert len(sends) == 4
    assert len({frame["client_msg_id"] for frame in sends}) == 1


async def test_repetitions_end_at_the_deadline_with_what_is_certain(gateway: FakeGateway, client: MakeClient) -> None:
    async with client(request_timeout_s=0.2) as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = ["unavailable"] * 10_000
        with pytest.raises(ChatError) as refused:
            await alice.send("g", "hi")
        gateway.refusals = ["timeout", *["unavailable"] * 10_000]
        with pytest.raises(ChatError) as unknown:
            await alice.send("g", "hi")

    assert (refused.value.code, refused.value.temporary) == ("unavailable", True)
    assert (unknown.value.code, unknown.value.temporary) == ("timeout", True)
    assert len({frame["client_msg_id"] for _, frame in gateway.requests if frame["type"] == "send"}) == 2


async def test_a_request_without_an_outcome_ends_at_its_deadline(gateway: FakeGateway, client: MakeClient) -> None:
    async with client(request_timeout_s=0.2) as alice:
        await alice.create_group("g", name="G")
        gateway.reply_delay_s = 3600
        with pytest.raises(ChatError) as late:
            await alice.send("g", "hi", client_msg_id="c1")

    assert (late.value.code, late.value.temporary, late.value.client_msg_id) == ("timeout", True, "c1")


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
