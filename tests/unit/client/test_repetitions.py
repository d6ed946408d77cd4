"""Repetitions: after a lost reply and a refusal for now, until the deadline, and never with effect twice."""

import asyncio

import pytest
from auerbach_client import Backoff, ChatError, EndedError, requests

from tests.support.fake_gateway import FakeGateway
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from tests.unit.client.conftest import MakeClient


class AtOnce:
    """In the place of a `Backoff`: so many repetitions at once, and then none for as long as anybody waits."""

    def __init__(self, repetitions: int) -> None:
        self._repetitions = repetitions

    def delay_s(self, attempt: int) -> float:
        return 0.0 if attempt <= self._repetitions else 86_400.0


async def test_a_lost_reply_leads_to_a_repetition_that_takes_effect_once(
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
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
    gateway: FakeGateway, client: MakeClient, clock: LoopClock, refusals: list[str], outcome: str
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
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
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
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
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
    gateway: FakeGateway, client: MakeClient, clock: LoopClock, monkeypatch: pytest.MonkeyPatch
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
    gateway: FakeGateway, client: MakeClient, clock: LoopClock
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


async def test_changes_of_a_group_keep_the_order_of_the_calls_though_some_are_refused_for_now(
    gateway: FakeGateway, client: MakeClient
) -> None:
    async with client() as alice:
        await alice.create_group("g", name="G")
        gateway.refusals = ["unavailable", "timeout", "rate_limited"]
        acks = await asyncio.gather(*(alice.send("g", f"m{i}") for i in range(6)))

    assert [ack.seq for ack in acks] == [2, 3, 4, 5, 6, 7]


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
