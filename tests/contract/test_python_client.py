"""The Python client, by the same tests in front of a gateway in memory and of real gateways, processors and broker."""

import asyncio
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from auerbach_client import (
    Backoff,
    ChatError,
    Client,
    Conversation,
    Event,
    Item,
    Message,
    Online,
    Reset,
    Status,
    Withheld,
)
from auerbach_client.bodies import MemberJoined, MessagePosted

from tests.support.fake_gateway import FakeGateway
from tests.support.stack import MakeStack, Stack
from tests.support.until import until

NewGroup = Callable[[], str]
MakeClient = Callable[..., Client]

ROOT = Path(__file__).parents[2]
SECRET = "0123456789abcdef0123456789abcdef"
WITHIN_S = 60


@pytest.fixture(params=["memory", "stack"])
def gateways(request: pytest.FixtureRequest) -> list[str] | None:
    """The real gateways' addresses; None: one in memory is to be made."""
    if request.param == "memory":
        return None
    stack: Stack = request.getfixturevalue("stack")
    return [stack.http_url(0), stack.http_url(1)]


@pytest.fixture
async def client(gateways: list[str] | None) -> AsyncIterator[MakeClient]:
    """Makes clients of the service that come back at once; the arguments are `Client`'s."""

    def make(urls: list[str], user: str, **arguments: Any) -> Client:
        return Client(urls, user=user, reconnect=Backoff(0.01, 0.1), **arguments)

    if gateways is not None:
        yield lambda user, **arguments: make(gateways, user, **arguments)
        return
    async with FakeGateway() as gateway:
        yield lambda user, **arguments: make([gateway.url], user, **arguments)


async def take(events: AsyncIterator[Item], count: int) -> list[Item]:
    async with asyncio.timeout(WITHIN_S):
        return [await anext(events) for _ in range(count)]


async def served(chat: Client, group: str) -> list[Message]:
    """The whole history, as the server gives it."""
    pages = [page async for page in chat.history_pages(group, limit=200)]
    return [Message.of_item(item) for page in reversed(pages) for item in page.messages]


def told(messages: list[Message] | tuple[Message, ...]) -> list[dict[str, Any]]:
    return [{name: getattr(message, name) for name in Message.__slots__ if name != "error"} for message in messages]


async def test_every_request_has_a_typed_outcome(client: MakeClient, new_group: NewGroup) -> None:
    group = new_group()
    async with client("alice") as alice, client("bob") as bob:
        acks = [
            await alice.create_group(group, name="G", members=[{"user": "bob"}, {"user": "carol", "role": "reader"}]),
            await bob.send(group, "hi", mentions=["alice"], attributes={"a": [1, {"b": None}]}),
            await alice.send(group, "yes?", reply_to=2),
            await bob.edit(group, 2, "hello"),
            await alice.react(group, 2, "👍"),
            await alice.update_group(group, topic="news", join="open"),
            await alice.set_role(group, "carol", "member"),
            await alice.remove_member(group, "carol", ban=True),
            await alice.unban(group, "carol"),
            await alice.add_member(group, "dave"),
            await bob.leave(group),
            await bob.join(group),
            await alice.unreact(group, 2, "👍"),
            await alice.delete(group, 3),
        ]
        nothing = await alice.unreact(group, 2, "👍")
        [first, second] = (await bob.history(group)).messages
        state, earlier = await bob.state(group), await bob.state(group, at_seq=2)
        members = [[m.user async for page in bob.member_pages(group, limit=2) for m in page.members]]
        with pytest.raises(ChatError) as refused:
            await bob.delete_group(group)
        acks.append(await alice.delete_group(group))

    assert [ack.seq for ack in acks] == list(range(1, 16))
    assert (nothing.seq, nothing.duplicate) == (None, False)
    assert (first.text, first.by, first.mentions, first.attributes) == (
        "hello",
        "bob",
        ("alice",),
        {"a": [1, {"b": None}]},
    )
    assert (first.edited_at is not None, first.reactions) == (True, {})
    assert (second.text, second.deleted, second.reply_to) == (None, True, None)
    assert (state.name, state.topic, state.join, state.seq, state.first) == ("G", "news", "open", 14, 1)
    assert [(m.user, m.role) for m in state.members] == [("alice", "owner"), ("dave", "member"), ("bob", "member")]
    assert ([m.user for m in earlier.members], members) == (["alice", "bob", "carol"], [["alice", "dave", "bob"]])
    assert (refused.value.code, refused.value.temporary) == ("forbidden", False)


@pytest.mark.parametrize("seed", range(2))
async def test_two_conversations_that_are_cut_at_random_end_as_the_log_is(
    client: MakeClient, new_group: NewGroup, seed: int
) -> None:
    group, chance = new_group(), random.Random(seed)
    async with client("alice") as alice, client("bob") as bob:
        await alice.create_group(group, name="G", members=[{"user": "bob"}])
        async with alice.conversation(group) as hers, bob.conversation(group) as his:
            mine: list[Message] = []
            deleted: set[int] = set()
            for step in range(40):
                mine.append(hers.post(f"a{step}"))
                his.post(f"b{step}")
                posted = {message.seq for message in his.messages if message.seq is not None} - deleted
                if posted and step % 4 == 0:
                    target = chance.choice(sorted(posted))
                    deleted.add(target)
                    await chance.choice([alice, bob]).react(group, target, chance.choice("👍🎉"))
                    await asyncio.gather(bob.delete(group, target), return_exceptions=True)
                if step % 8 == 5:
                    chance.choice([alice, bob]).interrupt()
            await whole(hers, his, seq=(await quiet(hers, his, alice)))
            history = await served(alice, group)

    texts = [message.text for message in history if message.text is not None]
    assert told(hers.messages) == told(his.messages) == told(history), f"seed {seed}"
    assert [message for message in hers.messages if message.by == "alice"] == mine
    assert [text for text in texts if text.startswith("a")] == [m.text for m in mine if m.text is not None]
    assert len(history) == 80


async def quiet(hers: Conversation, his: Conversation, chat: Client) -> int:
    """Wait until nothing is pending; the log's head then."""
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(hers.settled(), his.settled())
    return (await chat.state(hers.group)).seq


async def whole(*rooms: Conversation, seq: int) -> None:
    await until(lambda: all(room.seq == seq for room in rooms), WITHIN_S)


async def test_what_was_sent_before_cuts_takes_effect_once_and_in_its_order(
    client: MakeClient, new_group: NewGroup
) -> None:
    group = new_group()
    async with client("alice", pipeline=64) as alice:
        await alice.create_group(group, name="G")
        async with alice.subscribe(group, after=0) as events:
            sending = [asyncio.create_task(alice.send(group, f"m{i}")) for i in range(60)]
            for _ in range(5):
                await take(events, 8)
                alice.interrupt()
            acks = await asyncio.gather(*sending)
            rest = await take(events, 21)
        page = await alice.history(group, limit=200)

    assert [ack.seq for ack in acks] == list(range(2, 62))
    assert [m.text for m in page.messages] == [f"m{i}" for i in range(60)]
    assert [item.seq for item in rest if isinstance(item, Event)] == list(range(41, 62))


async def test_a_run_goes_on_in_a_later_client_and_is_reset_in_another_life(
    client: MakeClient, new_group: NewGroup
) -> None:
    group = new_group()
    async with client("alice") as alice:
        await alice.create_group(group, name="G", history="joined")
        await alice.send(group, "before")
        async with alice.subscribe(group, after=0) as events:
            await take(events, 1)
            position, log = events.position, events.log
    async with client("alice") as alice, client("bob") as bob:
        await alice.add_member(group, "bob")
        async with alice.subscribe(group, after=position, log=log) as hers, bob.subscribe(group, after=0) as his:
            resumed, joined = await take(hers, 2), await take(his, 2)
            await alice.delete_group(group)
            async with asyncio.timeout(WITHIN_S):
                ends = [[item.kind async for item in run if isinstance(item, Event)] for run in (hers, his)]
        await alice.create_group(group, name="again")
        async with alice.subscribe(group, after=position, log=log) as events:
            anew = await take(events, 2)
        async with alice.subscribe(group, after=5, log="another") as events:
            void = await take(events, 1)

    assert [type(item.body) for item in resumed if isinstance(item, Event)] == [MessagePosted, MemberJoined]
    assert joined[0] == Withheld(group, 1, 2)
    assert [item.seq for item in joined[1:] if isinstance(item, Event)] == [3]
    assert ends == [["group.deleted"]] * 2
    assert anew[0] == Reset(group, 5)
    assert isinstance(anew[1], Event)
    assert anew[1].kind == "group.created"
    assert void == [Reset(group, 6)]


async def test_many_groups_resume_together(client: MakeClient, new_group: NewGroup) -> None:
    groups = [new_group() for _ in range(25)]
    async with client("alice") as alice:
        await asyncio.gather(*(alice.create_group(group, name=group) for group in groups))
        runs = [alice.subscribe(group, after=0, state=False) for group in groups]
        first = await asyncio.gather(*(take(run, 1) for run in runs))
        alice.interrupt()
        await asyncio.gather(*(alice.send(group, "hi") for group in groups))
        then = await asyncio.gather(*(take(run, 1) for run in runs))

    assert [[item.seq for item in items if isinstance(item, Event)] for items in first] == [[1]] * 25
    assert [[item.seq for item in items if isinstance(item, Event)] for items in then] == [[2]] * 25


async def test_a_consumer_that_is_behind_loses_nothing(client: MakeClient, new_group: NewGroup) -> None:
    group = new_group()
    async with client("alice", pipeline=32) as alice, client("bob") as bob:
        await alice.create_group(group, name="G", members=[{"user": "bob"}])
        async with bob.subscribe(group, after=0, queue_events=4) as events:
            await asyncio.gather(*(alice.send(group, f"m{i}") for i in range(50)))
            await bob.ping()
            items = await take(events, 51)

    assert [item.seq for item in items if isinstance(item, Event)] == list(range(1, 52))


async def test_a_token_is_renewed_in_time_and_a_drain_is_come_back_from(
    stack: Stack, make_stack: MakeStack, new_group: NewGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long before its end: a machine that stands still for a quarter of these tokens' lives lets none expire.
    monkeypatch.setattr("auerbach_client.renewal._SHARE_LEFT", 0.9)
    settings = {"AUERBACH_JWT_SECRET": SECRET, "AUERBACH_JWT_LEEWAY_S": "0"}
    guarded = make_stack(started=False, bootstrap=stack.bootstrap, gateways=1, auth="jwt", settings=settings)
    guarded.data.mkdir()
    await asyncio.to_thread(guarded.start_one, "gateway-0")
    await asyncio.to_thread(guarded.wait_ready)
    made: list[str] = []

    def token() -> str:
        made.append(jwt.encode({"sub": "alice", "exp": int(time.time()) + 8, "jti": str(len(made))}, SECRET))
        return made[-1]

    group = new_group()
    async with Client(guarded.http_url(), token=token, reconnect=Backoff(0.1, 0.5)) as alice:
        await alice.create_group(group, name="G")
        async with alice.conversation(group) as room:
            session, first = alice.hello.session, jwt.decode(made[0], options={"verify_signature": False})["exp"]
            await until(lambda: time.time() > first + 1.1, WITHIN_S)  # the first token alone would have ended it
            room.post("on the same socket")
            await room.settled()
            renewed, kept = len(made), alice.hello.session
            guarded.kill("gateway-0", signal.SIGTERM)
            await until(lambda: not alice.online, WITHIN_S)
            echo = room.post("while it is away")
            await asyncio.to_thread(guarded.start_one, "gateway-0")
            await until(lambda: echo.status is Status.POSTED, WITHIN_S)

    assert kept == session != alice.hello.session
    assert renewed > 1
    assert [message.text for message in room.messages] == ["on the same socket", "while it is away"]


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("README.md", ["Hello, Alice!"]),
        ("clients/python/README.md", ["2 alice hello", "POSTED bob Hello, Alice!"]),
        ("docs/clients.md", ["archived 1 group.created"]),
    ],
)
async def test_the_programs_on_a_page_run_as_they_stand(
    page: str, says: list[str], stack: Stack, new_group: NewGroup, tmp_path: Path
) -> None:
    group, text = new_group(), (ROOT / page).read_text()
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if "create_group" not in programs[0]:
        async with Client(stack.http_url(), user="alice") as alice:
            await alice.create_group(group, name="G", join="open")

    assert len(programs) == len(says)
    for program, line in zip(programs, says, strict=True):
        here = program.replace("http://127.0.0.1:8080", stack.http_url()).replace('"g1"', f'"{group}"')
        assert here.count(group) > 1
        assert line in await printed(here, line, tmp_path)


async def printed(program: str, line: str, folder: Path) -> str:
    """What a program prints, until it says `line`; one that goes on is ended then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "-c",
        program,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(WITHIN_S):
            while line not in said and (more := await process.stdout.readline()):
                said += more.decode()
        return said
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_conversation_knows_who_is_online_also_after_a_lost_connection(
    stack: Stack, new_group: Callable[[], str]
) -> None:
    group = new_group()
    async with (
        Client(stack.http_url(0), user="alice", reconnect=Backoff(1, 2)) as alice,
        Client(stack.http_url(1), user="bob") as bob,
    ):
        await alice.create_group(group, name="G", members=[{"user": "bob"}])
        async with alice.conversation(group) as room:
            assert room.online == {"alice"}
            async with bob.conversation(group) as other:
                await until(lambda: room.online == {"alice", "bob"}, WITHIN_S)
                assert "bob" in other.online
                alice._session.link.cut()  # bob goes while it is away
            await until(lambda: room.online == {"alice"}, WITHIN_S)
            assert await alice.presence(group) == Online(online=("alice",))
