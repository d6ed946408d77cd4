"""What a call of the replaced service's gRPC is answered, whatever is asked and whatever the owner says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.domain.instants import to_text
from app.domain.outcomes import Rejection
from app.reads import PAGE_BYTES, Answer, AnyRead, ReadMessages
from tests.support.until import until
from web.reads_client import SilentError, UnavailableError
from web.rpc import chatservice_pb2 as pb
from web.rpc import service
from web.rpc.last_messages import PAGE_MESSAGES
from web.rpc.service import MOST, ChatService, number_of

FIRST_MS = 1_795_569_600_123
LIMIT_BYTES = 4 * 1024 * 1024
NO_SUCH_GROUP = Rejection("no_such_group", "there is no such group")


@dataclass
class Owner:
    """The owner of the group "g", whose messages are `texts` from the seq `oldest` on, None for a deleted one."""

    texts: list[str | None] = field(default_factory=list)
    by: str | None = "ann"
    oldest: int = 1
    refusal: Rejection | None = None
    asked: list[ReadMessages] = field(default_factory=list)
    before_page: Callable[[int], None] = lambda _: None

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """As `Reads.ask`."""
        await asyncio.sleep(0)
        self.before_page(len(self.asked))
        read = make(7)
        assert isinstance(read, ReadMessages)
        assert (group, read.group, read.user, read.end) == ("g", "g", None, 7)
        self.asked.append(read)
        if self.refusal is not None:
            return Answer(refusal=self.refusal)
        page: list[bytes] = []
        room = PAGE_BYTES
        end = len(self.texts) if read.before is None else max(0, read.before - self.oldest)
        for place in range(end)[::-1]:
            seq = self.oldest + place
            if len(page) == read.limit or room <= 0:
                break
            page.append(item(seq, self.texts[place], self.by))
            room -= len(page[-1])
        else:
            place = -1
        return Answer(messages=[msgspec.Raw(each) for each in page[::-1]], more=place >= 0, oldest=self.oldest)


def item(seq: int, text: str | None, by: str | None) -> bytes:
    fields: dict[str, Any] = {
        "seq": seq,
        "id": f"e{seq}",
        "by": by,
        "at": to_text(FIRST_MS + seq),
        "client_msg_id": "c",
    }
    return msgspec.json.encode({**fields, "text": text, **({"deleted": True} if text is None else {}), "reactions": {}})


@dataclass
class Call:
    """gRPC's context of a caller with so many seconds left."""

    left_s: float | None = None

    def time_remaining(self) -> float | None:
        return self.left_s


async def bytes_of(owner: Any, number: str = "50", group: str = "g", left_s: float | None = None) -> bytes:
    request = pb.RetrieveLastMessagesRequest(group_id=group, number_of_messages=number).SerializeToString()
    return await ChatService(owner, 5).retrieve_last_messages(request, Call(left_s))


async def asked_of(owner: Any, number: str = "50", **call: Any) -> pb.MessageResponse:
    response = pb.MessageResponse.FromString(await bytes_of(owner, number, **call))
    assert response.HasField("status")
    assert (response.status.message == "") == (response.status.code == pb.OK)
    return response


async def texts_of(owner: Any, number: str = "50") -> list[str]:
    response = await asked_of(owner, number)
    assert response.status.code == pb.OK
    return [message.content for message in response.messages]


async def test_the_last_messages_come_oldest_first_with_their_authors_and_instants() -> None:
    response = await asked_of(Owner(["one", "two 🎉", "three"]), "2")
    assert [(m.client_id, m.content) for m in response.messages] == [("ann", "two 🎉"), ("ann", "three")]
    assert [m.timestamp.ToMilliseconds() for m in response.messages] == [FIRST_MS + 2, FIRST_MS + 3]
    assert await texts_of(Owner(["one", "two"]), "3") == ["one", "two"]


async def test_the_status_is_there_though_it_says_nothing_but_ok() -> None:
    assert await bytes_of(Owner()) == b"\x0a\x00"
    assert (await bytes_of(Owner(["x"])))[:2] == b"\x0a\x00"


async def test_a_message_of_nobody_has_an_empty_author() -> None:
    assert [m.client_id for m in (await asked_of(Owner(["x"], by=None))).messages] == [""]


async def test_deleted_messages_are_left_out_and_do_not_count() -> None:
    owner = Owner(["one", "two", None, None, "three", *([None] * 40), "four"])
    assert await texts_of(owner, "3") == ["two", "three", "four"]
    assert await texts_of(Owner(["one", "two", "three", "four", None, None, None, "five"]), "3") == [
        "three",
        "four",
        "five",
    ]
    assert await texts_of(Owner([None] * 50), "3") == []


async def test_where_many_were_deleted_pages_grow() -> None:
    owner = Owner(["first", *([None] * 20_000), "last"])
    assert await texts_of(owner, "2") == ["first", "last"]
    limits = [read.limit for read in owner.asked]
    assert limits[:4] == [2, 4, 8, 16]
    assert max(limits) == PAGE_MESSAGES
    assert len(limits) < 50


async def test_who_wants_few_asks_for_few() -> None:
    owner = Owner([str(n) for n in range(10_000)])
    assert await texts_of(owner) == [str(n) for n in range(9_950, 10_000)]
    assert [(read.limit, read.before) for read in owner.asked] == [(50, None)]


@pytest.mark.parametrize("number", ["100000", "9" * 60_000, "+" + "0" * 5_000 + "2500"])
async def test_more_than_there_are_is_all(number: str) -> None:
    texts = [str(n) for n in range(2_500)]
    owner = Owner(list(texts))
    assert await texts_of(owner, number) == texts
    assert len(owner.asked) == 3


@pytest.mark.parametrize("number", ["0", "-1", "-0", "+0", "-" + "9" * 60_000, "000"])
async def test_zero_and_less_are_none_and_nobody_is_asked(number: str) -> None:
    owner = Owner(["x"])
    assert await texts_of(owner, number) == []
    assert owner.asked == []


@pytest.mark.parametrize(
    "number",
    [
        "",
        " ",
        "five",
        "1.5",
        "5 ",
        " 5",
        "5\n",
        "+",
        "-",
        "--5",
        "1e3",
        "0x10",
        "1_000",
        "٣",
        "\uff15",
        "²",
        "5\0",
        "NaN",
    ],
)
async def test_what_is_no_number_is_a_bad_request_whatever_the_group(number: str) -> None:
    for group in ("g", "none", ""):
        response = await asked_of(Owner(["x"]), number, group=group)
        assert (response.status.code, list(response.messages)) == (pb.BAD_REQUEST, [])
        assert "number_of_messages" in response.status.message


@given(st.integers(), st.sampled_from(["", "+", "0", "+00"]))
def test_every_integer_is_a_number(number: int, before: str) -> None:
    text = f"{before}{number}" if number >= 0 else str(number)
    assert number_of(text) == min(max(number, -1), MOST)


@given(st.text())
def test_any_other_text_is_none_or_what_python_takes_it_for(text: str) -> None:
    found = number_of(text)
    assert found is None or found == min(max(int(text), -1), MOST)


@pytest.mark.parametrize("group", ["", ".", " g", "g\x00", "x" * 129, "a\nb"])
async def test_a_group_whose_id_can_be_none_has_no_messages_and_nobody_is_asked(group: str) -> None:
    response = await asked_of(Owner(["x"]), group=group)
    assert (response.status.code, list(response.messages)) == (pb.OK, [])


async def test_an_unknown_group_has_no_messages() -> None:
    assert await texts_of(Owner(["x"], refusal=NO_SUCH_GROUP)) == []


@pytest.mark.parametrize("request_bytes", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff\x12\x011", b"\x0a\x03\xed\xa0\x80"])
async def test_what_is_no_request_is_a_bad_one(request_bytes: bytes) -> None:
    answer = await ChatService(Owner(["x"]), 5).retrieve_last_messages(request_bytes, Call())
    assert pb.MessageResponse.FromString(answer).status.code == pb.BAD_REQUEST


@pytest.mark.parametrize("size", [16_384, 4_000, 1])
async def test_an_answer_stays_under_four_mebibytes_and_is_the_newest_that_fit(size: int) -> None:
    count = min(2 * LIMIT_BYTES // size, 250_000)
    owner = Owner([f"{n:x}".rjust(size, "x")[-size:] for n in range(count)], by="é" * 64 if size > 1 else "a")
    answer = await bytes_of(owner, str(count))
    messages = pb.MessageResponse.FromString(answer).messages
    one_more = pb.MessageResponse(messages=[messages[0]]).ByteSize()
    assert LIMIT_BYTES - one_more - 5_000 < len(answer) < LIMIT_BYTES
    assert [m.timestamp.ToMilliseconds() for m in messages] == [
        FIRST_MS + seq for seq in range(count - len(messages) + 1, count + 1)
    ]


async def test_nothing_of_an_earlier_life_is_answered_though_a_page_of_it_was_read() -> None:
    def begin_anew(page: int) -> None:
        if page == 2:
            owner.texts, owner.oldest = ["new"], 5_000

    owner = Owner([f"old {n}" for n in range(4_000)], before_page=begin_anew)
    assert await texts_of(owner, "4000") == ["new"]


async def test_what_is_pruned_meanwhile_is_not_answered() -> None:
    def prune(page: int) -> None:
        if page == 1:
            owner.texts, owner.oldest = owner.texts[3_500:], 3_501

    owner = Owner([str(n) for n in range(4_000)], before_page=prune)
    assert await texts_of(owner, "4000") == [str(n) for n in range(3_500, 4_000)]


async def test_of_a_group_that_is_deleted_meanwhile_nothing_is_answered() -> None:
    def delete(page: int) -> None:
        owner.refusal = NO_SUCH_GROUP if page == 1 else None

    owner = Owner([str(n) for n in range(4_000)], before_page=delete)
    assert await texts_of(owner, "4000") == []


class Failing:
    """An owner of whom nothing comes but an exception, once its time is over."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.within_s: list[float] = []

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """As `Reads.ask`."""
        self.within_s.append(deadline - asyncio.get_running_loop().time())
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UnavailableError("g"), pb.SERVICE_UNAVAILABLE),
        (SilentError("g"), pb.REQUEST_TIMEOUT),
        (RuntimeError("a bug"), pb.GENERIC_ERROR),
    ],
)
async def test_what_goes_wrong_is_told_by_the_status_and_counted(failure: Exception, code: Any) -> None:
    name = pb.StatusCode.Name(code)
    before = REGISTRY.get_sample_value("auerbach_gateway_rpc_calls_total", {"code": name}) or 0
    response = await asked_of(Failing(failure))
    assert (response.status.code, list(response.messages)) == (code, [])
    assert REGISTRY.get_sample_value("auerbach_gateway_rpc_calls_total", {"code": name}) == before + 1


async def test_a_refusal_that_an_authority_never_gets_is_our_fault() -> None:
    response = await asked_of(Owner(["x"], refusal=Rejection("banned", "you are banned")))
    assert response.status.code == pb.GENERIC_ERROR


@pytest.mark.parametrize(("left_s", "within_s"), [(None, 5), (60, 5), (4, 3.75), (0.4, 0.3)])
async def test_an_owner_has_until_a_little_before_the_callers_deadline(
    left_s: float | None, within_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    owner = Failing(SilentError("g"))
    await asked_of(owner, left_s=left_s)
    assert owner.within_s == [pytest.approx(within_s)]


class Gate:
    """An owner who answers when it is opened; `asked` says how many wait."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = 0
        self.owner = Owner(["x"])

    async def ask(self, group: str, make: Callable[[int], AnyRead], deadline: float) -> Answer:
        """As `Reads.ask`."""
        self.asked += 1
        await self.open.wait()
        return await self.owner.ask(group, make, deadline)

    async def wait_asked(self, count: int) -> None:
        await until(lambda: self.asked >= count)


async def test_calls_beyond_the_bound_are_refused_at_once_and_those_within_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "UNDER_WAY", 3)
    gate = Gate()
    calls = ChatService(gate, 5)
    request = pb.RetrieveLastMessagesRequest(group_id="g", number_of_messages="1").SerializeToString()
    waiting = [asyncio.create_task(calls.retrieve_last_messages(request, Call())) for _ in range(3)]
    await gate.wait_asked(3)
    refused = pb.MessageResponse.FromString(await calls.retrieve_last_messages(request, Call()))
    assert refused.status.code == pb.SERVICE_UNAVAILABLE
    gate.open.set()
    answers = [pb.MessageResponse.FromString(answer) for answer in await asyncio.gather(*waiting)]
    assert [answer.status.code for answer in answers] == [pb.OK] * 3
    again = pb.MessageResponse.FromString(await calls.retrieve_last_messages(request, Call()))
    assert again.status.code == pb.OK


async def test_at_the_end_calls_that_wait_are_answered() -> None:
    gate = Gate()
    calls = ChatService(gate, 600)
    request = pb.RetrieveLastMessagesRequest(group_id="g", number_of_messages="1").SerializeToString()
    waiting = asyncio.create_task(calls.retrieve_last_messages(request, Call()))
    await gate.wait_asked(1)
    calls.end(0)
    late = asyncio.create_task(calls.retrieve_last_messages(request, Call()))
    async with asyncio.timeout(30):
        answers = [pb.MessageResponse.FromString(answer) for answer in await asyncio.gather(waiting, late)]
    assert [answer.status.code for answer in answers] == [pb.SERVICE_UNAVAILABLE] * 2


async def test_a_call_whose_caller_has_gone_leaves_its_place() -> None:
    gate = Gate()
    calls = ChatService(gate, 600)
    request = pb.RetrieveLastMessagesRequest(group_id="g", number_of_messages="1").SerializeToString()
    waiting = asyncio.create_task(calls.retrieve_last_messages(request, Call()))
    await gate.wait_asked(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not calls._under_way
