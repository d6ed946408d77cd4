"""An old socket until it is let in, around an in-memory log: who is, who is not, and what was sent meanwhile."""

import pytest

from app.domain.commands import DeleteGroup, RemoveMember
from tests.support.old_app import CONNECTED
from tests.support.until import until
from tests.unit.web.legacy_world import begin, only, running, texts
from tests.unit.web.world import World


async def test_messages_sent_before_being_let_in_are_posted_and_come_back() -> None:
    world = World()
    begin(world)
    world.gate.clear()
    async with running(world) as gateway:
        alice = await gateway.connect()
        await alice.say("a", "b")
        await until(lambda: world.reads)
        assert world.commands == []
        world.gate.set()
        assert await alice.next() == ("alice", CONNECTED)
        assert [await alice.text(), await alice.text()] == ["a", "b"]


@pytest.mark.parametrize("case", ["no group", "no member", "banned", "deleted"])
async def test_who_is_no_member_is_let_in_and_closed_with_1008(case: str) -> None:
    world = World()
    if case != "no group":
        begin(world, "bob")
    if case == "banned":
        world.decide(RemoveMember(id="r", group="g", by="alice", user="bob", ban=True))
    if case == "deleted":
        world.decide(DeleteGroup(id="d", group="g", by="alice"))
    async with running(world) as gateway:
        world.gate.clear()
        stranger = await gateway.connect(user="eve" if case == "no member" else "bob")
        await stranger.say("unheard")
        await until(lambda: len(gateway.sessions) == 1 and len(only(gateway)._posting))
        world.gate.set()
        assert await stranger.closed() == 1008
        assert stranger.seen == []
        await until(lambda: not len(gateway.sessions))
        assert world.commands == []
        assert world.presence.calls == []  # type: ignore[attr-defined]
        assert not world.hub.follows(b"g")


async def test_an_owner_that_cannot_be_reached_is_a_failed_connection() -> None:
    world = World()
    begin(world)
    world.owner_away = True
    world.gate.clear()
    async with running(world) as gateway:
        alice = await gateway.connect()
        await alice.say("unheard")
        await until(lambda: len(gateway.sessions) == 1 and len(only(gateway)._posting))
        world.gate.set()
        assert await alice.closed() == 1011
        await until(lambda: not len(gateway.sessions))
        assert not world.hub.follows(b"g")


async def test_before_the_log_is_read_a_socket_waits_and_is_not_refused() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        gateway.is_open = False
        alice = await gateway.connect()
        await alice.socket.ping()
        await alice.say("early")
        assert world.reads == []
        gateway.is_open = True
        assert await alice.next() == ("alice", CONNECTED)
        assert await alice.text() == "early"


async def test_who_is_gone_before_being_let_in_is_never_online_and_what_was_received_is_posted() -> None:
    world = World()
    begin(world)
    world.gate.clear()
    async with running(world) as gateway:
        alice = await gateway.connect()
        await alice.say("a", "b")
        await alice.socket.close()
        world.gate.set()
        await until(lambda: not len(gateway.sessions))
        assert texts(world) == ["a", "b"]
        assert world.presence.calls == []  # type: ignore[attr-defined]
        assert not world.hub.follows(b"g")


async def test_who_is_gone_before_the_log_is_read_follows_nothing_afterwards() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        gateway.is_open = False
        alice = await gateway.connect()
        await alice.say("a")
        await alice.socket.close()
        gateway.is_open = True
        await until(lambda: not len(gateway.sessions))
        assert texts(world) == ["a"]
        assert not world.hub.follows(b"g")
