"""Requests: their outcomes, and that a repetition never takes effect twice."""

import asyncio
import contextlib

import pytest
from auerbach_client import Backoff, ChatError, EndedError, requests
from auerbach_client.lanes import Lanes

from tests.support.fake_gateway import FakeGateway
from tests.support.until import until
from tests.unit.client.conftest import Clock, MakeClient


class AtOnce:
    """In the place of a `Backoff`: so many repetitions at once, and then none for as long as anybody waits."""

    def __init__(self, repetitions: int) -> None:
        self._repetitions = repetitions

    def delay_s(self, attempt: int) -> float:
        return 0.0 if attempt <= self._repetitions else 86_400.0


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


async def test_a_lost_reply_leads_to_a_repetition_that_takes_effect_once(
    gateway: FakeGateway, client: MakeClient, clock: Clock
) -> None:
    async with client(reply_timeout_s=20) as alice:
        await alice.create_group("g", name="G")
        gateway.lose_replies = 1
        sending = asyncio.create_task(alice.send("g", "once"))
        await until(lambda: gateway.log.group("g").state.seq == 2)
        await clock.put_forward(21)
        ack = await sending
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


@pytest.mark.parametrize(
    ("refusals", "outcome"),
    [(["unavailable", "rate_limited", "unavailable"], "unavailable"), (["timeout", "unavailable"], "timeout")],
)
async def test_repetitions_end_at_the_deadline_with_what_is_certain(
    gateway: FakeGateway, client: MakeClient, clock: Clock, refusals: list[str], outcome: str
) -> None:
    async with client(request_timeout_s=60, retry=AtOnce(len(refusals) - 1)) as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = list(refusals)
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: not gateway.refusals)
        await alice.ping()  # its reply is behind the last refusal: nothing is under way
        await clock.put_forward(60)
        with pytest.raises(ChatError) as ended:
            await sending

    sends = [frame["client_msg_id"] for _, frame in gateway.requests if frame["type"] == "send"]
    assert (ended.value.code, ended.value.temporary) == (outcome, True)
    assert sends == [ended.value.client_msg_id] * len(refusals)


async def test_a_repetition_that_is_under_way_at_the_deadline_may_still_take_effect(
    gateway: FakeGateway, client: MakeClient, clock: Clock
) -> None:
    async with client(request_timeout_s=60, retry=Backoff(30, 30)) as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = ["unavailable"]
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: not gateway.refusals)
        await alice.ping()
        gateway.lose_replies = 1
        await clock.put_forward(30)
        await until(lambda: gateway.log.group("g").state.seq == 2)
        await clock.put_forward(60)
        with pytest.raises(ChatError) as unknown:
            await sending

    assert (unknown.value.code, unknown.value.temporary) == ("timeout", True)


async def test_a_refusal_of_a_repetition_says_nothing_of_what_was_under_way_when_the_connection_ended(
    gateway: FakeGateway, client: MakeClient, clock: Clock
) -> None:
    async with client(request_timeout_s=60, retry=AtOnce(1)) as alice:
        await alice.create_group("g", name="G")
        gateway.lose_replies = 1
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: gateway.log.group("g").state.seq == 2)
        gateway.refusals = ["unavailable"] * 2
        gateway.cut()
        await until(lambda: not gateway.refusals)
        await alice.ping()
        await clock.put_forward(60)
        with pytest.raises(ChatError) as unknown:
            await sending

    assert (unknown.value.code, unknown.value.temporary) == ("timeout", True)


@pytest.mark.parametrize("refusals", [[], ["timeout"], ["timeout", *["unavailable"] * 10_000]])
async def test_what_may_have_taken_effect_is_not_repeated_once_its_id_may_be_forgotten(
    gateway: FakeGateway, client: MakeClient, monkeypatch: pytest.MonkeyPatch, refusals: list[str]
) -> None:
    async with client(request_timeout_s=3600) as alice:
        await alice.create_group("g", name="G")
        monkeypatch.setattr("auerbach_client.requests._REPEATED_S", 0.3)
        gateway.refusals, gateway.reply_delay_s = refusals, 3600
        async with asyncio.timeout(30):
            with pytest.raises(ChatError) as unknown:
                await alice.send("g", "hi", client_msg_id="c1")

    error = unknown.value
    assert (error.code, error.temporary, error.client_msg_id) == ("timeout", True, "c1")


async def test_what_is_certainly_not_done_yet_is_repeated_until_the_deadline_and_so_is_a_question(
    gateway: FakeGateway, client: MakeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(request_timeout_s=3600, reply_timeout_s=3600, retry=Backoff(70, 70)) as alice:
        await alice.create_group("g", name="G")
        monkeypatch.setattr("auerbach_client.requests._REPEATED_S", 50.0)
        gateway.refusals = ["unavailable", "rate_limited"]
        gateway.reads_held = asyncio.Event()
        reading = asyncio.create_task(alice.history("g"))
        sending = asyncio.create_task(alice.send("g", "hi"))
        for left in (1, 0):
            await until(lambda left=left: len(gateway.refusals) == left)  # type: ignore[misc]
            await alice.ping()  # its reply is behind the refusal
            await clock.put_forward(70)
        ack = await sending
        gateway.reads_held.set()
        page = await reading

    assert (ack.seq, ack.duplicate) == (2, False)
    assert page.messages == ()


def test_repetitions_end_while_the_server_still_knows_the_id() -> None:
    assert requests._REPEATED_S + 10 + 15 <= 600  # the server's deadline, and the wait for its reply


async def test_a_request_without_an_outcome_ends_at_its_deadline(
    gateway: FakeGateway, client: MakeClient, clock: Clock
) -> None:
    async with client(request_timeout_s=50) as alice:
        await alice.create_group("g", name="G")
        gateway.lose_replies = 1
        sending = asyncio.create_task(alice.send("g", "hi", client_msg_id="c1"))
        await until(lambda: gateway.log.group("g").state.seq == 2)
        await clock.put_forward(50)
        with pytest.raises(ChatError) as late:
            await sending

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


async def test_changes_of_a_group_keep_the_order_of_the_calls_though_some_are_refused_for_now(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = ["unavailable", "timeout", "rate_limited"]
        acks = await asyncio.gather(*(alice.send("g", f"m{i}") for i in range(6)))

    assert [ack.seq for ack in acks] == [2, 3, 4, 5, 6, 7]


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


async def test_closing_does_not_wait_for_a_request_that_waits_to_be_repeated(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client(retry=Backoff(3600, 3600)) as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = ["unavailable"]
        sending = asyncio.create_task(alice.send("g", "hi"))
        await until(lambda: not gateway.refusals)
        await alice.ping()
    async with asyncio.timeout(30):
        with pytest.raises(EndedError):
            await sending


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
