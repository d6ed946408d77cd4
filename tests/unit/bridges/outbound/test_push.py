"""Which messages are pushed, to whom an owner is asked about, and what is sent where it does not say."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastavro import parse_schema, schemaless_reader

from app.kafka.topics import Layout
from app.reads import Answer, Audience, OwnerRecord, ReadAudience, decode_reads, encode_answers
from bridges.outbound.push import STALE_S, Push, Pushes
from bridges.outbound.push_audience import Audiences, Found, Unknown
from bridges.outbound.steps import Item

NOW_S = 1_795_569_600.0
LAYOUT = Layout(partitions=1, log_id="log", commands_topic_id="commands")
# As protocol §8 has it, written here once more.
SCHEMA = parse_schema(
    {
        "type": "record",
        "name": "AvroGroupWisePushNotification",
        "namespace": "io.github.positionpal",
        "fields": [
            {
                "name": "recipient",
                "type": {"type": "record", "name": "AvroGroupId", "fields": [{"name": "value", "type": "string"}]},
            },
            {
                "name": "sender",
                "type": {"type": "record", "name": "AvroUserId", "fields": [{"name": "username", "type": "string"}]},
            },
            {
                "name": "message",
                "type": {
                    "type": "record",
                    "name": "AvroNotificationMessage",
                    "fields": [{"name": "title", "type": "string"}, {"name": "body", "type": "string"}],
                },
            },
        ],
    }
)


class FakeAudiences:
    """Says of every group what the test wants."""

    def __init__(self, found: Found | asyncio.Future[Found]) -> None:
        self.found = found

    def of(self, group: str) -> Found | asyncio.Future[Found]:
        return self.found

    async def close(self) -> None:
        pass


def posted(by: str | None = "anna", data: bytes = b'{"text":"Hello \xf0\x9f\x8e\x89"}', **fields: object) -> Item:
    value = b'{"type":"event","by":%s,"data":%s}' % (b"null" if by is None else f'"{by}"'.encode(), data)
    item = Item(0, 7, 0, "g1", 4, "message.posted", "e7", round(1000 * NOW_S), value)
    return item._replace(**fields)


@pytest.fixture
async def decide() -> AsyncIterator[Callable[..., "asyncio.Future[Push | None] | Push | None"]]:
    made: list[Pushes] = []

    def ask(item: Item, found: Found | asyncio.Future[Found]) -> "asyncio.Future[Push | None] | Push | None":
        made.append(Pushes("", LAYOUT, cast("Audiences", FakeAudiences(found)), lambda: NOW_S))
        return made[-1].decide(item)

    yield ask
    for each in made:
        await each.close()


async def test_a_message_that_somebody_offline_misses_is_pushed(decide: Callable[..., Push]) -> None:
    push = decide(posted(), Audience("Friends", 2, ["bob"]))

    message = push.outgoing(lambda: None)
    assert (message.exchange, message.headers) == (
        "push-notifications",
        {"message_type": "GROUP_WISE_NOTIFICATION"},
    )
    assert message.message_id == "e7-push"
    body = BytesIO(message.body)
    assert schemaless_reader(body, SCHEMA, None) == {
        "recipient": {"value": "g1"},
        "sender": {"username": "anna"},
        "message": {"title": "Friends", "body": "Hello 🎉"},
    }
    assert body.read() == b""


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (posted(), Audience("Friends", 2, [])),
        (posted(), Audience("Friends", 2, ["anna"])),
        (posted(), None),
        (posted(kind="message.edited"), Audience("Friends", 2, ["bob"])),
        (posted(at_ms=round(1000 * (NOW_S - STALE_S - 1))), Audience("Friends", 2, ["bob"])),
        (posted(data=b'{"text":null,"deleted":true}'), Audience("Friends", 2, ["bob"])),
        (posted(data=b'{"text":7}'), Audience("Friends", 2, ["bob"])),
    ],
    ids=[
        "nobody is offline",
        "only the sender is",
        "the group is gone",
        "an edit",
        "an old one",
        "a redacted one",
        "an unreadable one",
    ],
)
async def test_what_nobody_misses_or_should_get_is_not_pushed(
    decide: Callable[..., Push | None], item: Item, found: Found
) -> None:
    assert decide(item, found) is None


async def test_where_the_sender_and_another_are_offline_it_is_pushed(decide: Callable[..., Push | None]) -> None:
    assert decide(posted(), Audience("Friends", 3, ["anna", "bob"])) is not None


@pytest.mark.parametrize(("name", "title"), [("", "g1"), ("Friends", "Friends")])
async def test_where_the_owner_does_not_say_it_is_pushed_under_the_name_last_known(
    decide: Callable[..., Push], name: str, title: str
) -> None:
    assert decide(posted(), Unknown(name)).title == title


async def test_while_the_owner_is_asked_the_push_is_a_future(
    decide: Callable[..., "asyncio.Future[Push | None]"],
) -> None:
    found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    deciding = decide(posted(), found)
    assert not deciding.done()

    found.set_result(Audience("Friends", 2, ["bob"]))

    push = await deciding
    assert push is not None
    assert push.title == "Friends"


class Owner:
    """An owner's HTTP: answers each group by name, and counts the calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answer: Callable[[str], Answer] = lambda group: Answer(audience=Audience(group.upper(), 2, ["bob"]))
        self.stuck = False

    async def reads(self, request: web.Request) -> web.Response:
        reads = decode_reads(await request.read())
        assert all(isinstance(read, ReadAudience) and read.user is None for read in reads)
        self.calls.append([read.group for read in reads])
        if self.stuck:
            await asyncio.Event().wait()
        return web.Response(body=encode_answers([self.answer(read.group) for read in reads]))


@pytest.fixture
async def owner() -> Owner:
    return Owner()


@pytest.fixture
async def audiences(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Audiences]:
    for patience in ("HELD_S", "ASK_S", "CALL_S"):  # as long as no machine stands still
        monkeypatch.setattr(f"bridges.outbound.push_audience.{patience}", 600)
    app = web.Application()
    app.router.add_post("/reads", owner.reads)
    server = TestServer(app)
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")

    async def owners() -> dict[int, OwnerRecord]:
        return {0: OwnerRecord(url=url, epoch=0, offset=0, worker="w", log="log")}

    async with aiohttp.ClientSession() as session:
        asking = Audiences("", LAYOUT, session, cast("Callable[[], Awaitable[dict[int, OwnerRecord]]]", owners))
        yield asking
        await asking.close()
    await server.close()


async def found(audiences: Audiences, group: str) -> Found:
    asked = audiences.of(group)
    return await asked if isinstance(asked, asyncio.Future) else asked


async def test_groups_that_wait_are_asked_about_in_one_call_and_held_for_a_while(
    audiences: Audiences, owner: Owner
) -> None:
    await found(audiences, "warm")
    owner.calls.clear()
    groups = [f"g{n}" for n in range(10)]

    answers = await asyncio.gather(*(found(audiences, g) for g in [*groups, *groups]))
    again = [audiences.of(group) for group in groups]

    assert answers == [Audience(g.upper(), 2, ["bob"]) for g in [*groups, *groups]]
    assert again == answers[:10]
    assert sorted(group for call in owner.calls for group in call) == groups
    assert len(owner.calls) < len(groups)


async def test_of_a_group_that_is_gone_nothing_is_known(audiences: Audiences, owner: Owner) -> None:
    owner.answer = lambda _: Answer()
    assert await found(audiences, "g1") is None


async def test_who_is_not_the_owner_is_asked_again(audiences: Audiences, owner: Owner) -> None:
    answers = iter([Answer(missing="not_owner"), Answer(missing="loading"), Answer(audience=Audience("n", 1, []))])
    owner.answer = lambda _: next(answers)
    assert await found(audiences, "g1") == Audience("n", 1, [])


async def test_an_owner_that_keeps_silent_is_given_up_on(
    audiences: Audiences, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridges.outbound.push_audience.ASK_S", 0.5)
    owner.stuck = True
    assert await found(audiences, "g1") == Unknown("")


async def test_too_many_groups_at_once_are_not_asked_about(
    audiences: Audiences, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridges.outbound.push_audience.GROUPS", 1)
    owner.stuck = True
    audiences.of("g1")
    assert audiences.of("g2") == Unknown("")
