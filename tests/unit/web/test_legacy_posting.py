"""What an old socket receives, around an in-memory log: posted once, in order and up to its end, or told as failed."""

import asyncio
from typing import Any

import pytest

from app.domain.commands import RemoveMember, SetRole
from app.domain.outcomes import Rejection
from app.reads import Outcome
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from tests.unit.web.legacy_world import begin, only, post, release_until, running, texts
from tests.unit.web.world import World
from web import sessions
from web.legacy import posting


async def test_texts_are_posted_in_order_and_what_is_no_message_is_not() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.socket.send_bytes(b"binary")
        await alice.socket.send_bytes(b"b" * 900_000)
        await alice.say("", '{"type":"ping","id":1}', "[]", " ", "null", "x" * 16_384)
        assert [await alice.text() for _ in range(5)] == ['{"type":"ping","id":1}', "[]", " ", "null", "x" * 16_384]
        assert len({command.client_msg_id for command in world.commands}) == 5


async def test_a_text_in_fragments_with_a_ping_in_between_is_one_message() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        writer = alice.socket._writer
        for fin, opcode, payload in (
            (0, 1, "Grü".encode()[:3]),
            (0x80, 9, b"p"),
            (0, 0, "Grü".encode()[3:]),
            (0, 0, b""),
            (0x80, 0, b"!"),
        ):
            assert writer is not None
            writer.transport.write(bytes((fin | opcode, 0x80 | len(payload))) + bytes(4) + payload)
        assert await alice.text() == "Grü!"


@pytest.mark.parametrize(("text", "code"), [("x" * 16_385, 1009), ("a\0b", 1007)])
async def test_a_text_that_cannot_be_a_message_closes_and_what_came_before_is_posted(text: str, code: int) -> None:
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.say("a", "b", text, "c")
        assert await alice.closed() == code
        await release_until(world, lambda: len(gateway.sessions) == 0)
        assert texts(world) == ["a", "b"]


async def test_what_was_received_before_the_clients_close_is_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "QUEUED", 16)
    world = World()
    begin(world)
    world.gate.clear()
    async with running(world) as gateway:
        alice = await gateway.connect()
        await alice.say(*(f"m{n}" for n in range(60)))
        await until(lambda: len(only(gateway)._posting) == posting.QUEUED)
        closing = asyncio.create_task(alice.socket.close())
        world.gate.set()
        await closing
        await until(lambda: not len(gateway.sessions))
        assert texts(world) == [f"m{n}" for n in range(60)]
        assert not world.hub.follows(b"g")


async def test_a_drain_posts_what_was_received_and_closes_with_1001(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SETTLE_S", 600)  # a socket ends when it has nothing left to do, not with the time
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.say("a", "b")
        await until(lambda: world.commands)
        closed = asyncio.create_task(alice.closed())
        draining = asyncio.create_task(gateway.sessions.drain(600, spread_s=0))
        await release_until(world, draining.done)
        assert await closed == 1001
        assert texts(world) == ["a", "b"]


async def test_an_unknown_outcome_is_repeated_with_the_same_key_until_it_is_certain() -> None:
    world = World()
    begin(world)
    tried: list[Any] = []
    decide = world.decide

    def lossy(command: Any) -> None:
        tried.append(command)
        decide(command) if len(tried) != 2 else None
        if len(tried) < 3:  # the outcome of what may have been appended is not heard of
            world.unread.clear()
            world.commander.on_outcome(_outcome(command, Rejection("timeout", "", temporary=True)))

    world.auto_deliver = False
    world.decide = lossy  # type: ignore[method-assign]
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.say("once")
        await until(lambda: len(tried) == 3)
        world.deliver()
        await until(lambda: not len(world.commander))
        assert len({command.client_msg_id for command in tried}) == 1
        assert len({command.id for command in tried}) == 3
        assert texts(world) == ["once"]


async def test_a_message_whose_outcome_stays_unknown_fails_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LoopClock(monkeypatch)
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.say("a", "b")
        await until(lambda: world.commands and len(only(gateway)._posting) == 2)
        await clock.put_forward(posting.CERTAIN_WITHIN_S)
        assert await alice.closed() == 1011
        assert {command.text for command in world.commands} == {"a"}


async def test_what_a_reader_sends_is_dropped_and_the_reader_stays() -> None:
    world = World()
    begin(world, "bob")
    world.decide(SetRole(id="s", group="g", by="alice", user="bob", role="reader"))
    async with running(world) as gateway:
        bob = await gateway.member(user="bob")
        await bob.say("unheard")
        await until(lambda: world.commands)
        post(world, "heard")
        assert await bob.text() == "heard"


async def test_who_is_told_by_the_owner_to_be_outside_posts_nothing_more_and_is_closed() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        bob = await gateway.member(user="bob")
        world.auto_deliver = False
        world.decide(RemoveMember(id="r", group="g", by="alice", user="bob"))
        await bob.say("a", "b")
        await until(lambda: world.commands)
        world.deliver()
        assert await bob.closed() == 1008
        assert [command.text for command in world.commands] == ["a"]


async def test_a_socket_behind_a_full_queue_is_not_read_and_nothing_of_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posting, "QUEUED", 16)
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        sent = [f"m{n} {'x' * 16_000}" for n in range(150)]
        saying = asyncio.create_task(alice.say(*sent))
        await until(lambda: len(only(gateway)._posting) == posting.QUEUED)
        reading = asyncio.create_task(_texts(alice, 150))
        await release_until(world, reading.done)
        await saying
        assert reading.result() == sent


async def _texts(app: Any, count: int) -> list[str]:
    return [await app.text() for _ in range(count)]


def _outcome(command: Any, refusal: Rejection) -> Any:
    return Outcome(command=command.id, refusal=refusal)
