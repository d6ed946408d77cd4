"""One old socket that was let in, around an in-memory log: what it is told, and how it ends."""

import asyncio

import aiohttp
import pytest

from app.domain.commands import AddMember, Delete, DeleteGroup, Edit, React, RemoveMember, SetRole, UpdateGroup
from tests.support.old_app import CONNECTED, JOINED, LEFT, WITHIN_S, address
from tests.unit.web.legacy_world import begin, only, post, running
from tests.unit.web.world import World
from web.legacy import outbox
from web.legacy import session as under_test
from web.presence import PresenceChange


async def test_a_message_goes_to_all_members_the_sender_included() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        alice, bob = await gateway.member(), await gateway.member(user="bob")
        await alice.about("bob", CONNECTED)
        await bob.say('Hello, "Alice"\u2028\n😀')
        told = await alice.next()
        assert told == await bob.next()
        assert told[:2] == ("bob", 'Hello, "Alice"\u2028\n😀')
        assert told[2] == world.log.group("g").events[-1].at


async def test_events_that_old_apps_do_not_know_are_not_sent() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        alice = await gateway.member()
        post(world, "one")
        world.decide(Edit(id="1", group="g", by="alice", seq=2, text="two"))
        world.decide(React(id="2", group="g", by="bob", seq=2, emoji="+"))
        world.decide(Delete(id="3", group="g", by="alice", seq=2))
        world.decide(UpdateGroup(id="4", group="g", by="alice", name="H"))
        world.decide(SetRole(id="5", group="g", by="alice", user="bob", role="admin"))
        world.decide(AddMember(id="6", group="g", by="alice", user="carol"))
        world.decide(RemoveMember(id="7", group="g", by="alice", user="carol", ban=True))
        post(world, "last")
        assert await alice.text() == "one"
        assert await alice.text() == "last"
        assert alice.seen[2:4] == [("carol", JOINED), ("carol", LEFT)]
        assert len(alice.seen) == 5


async def test_who_is_removed_gets_what_came_before_and_1008_and_the_others_are_told() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        alice = await gateway.member()
        bob = await gateway.member(user="bob")
        world.auto_deliver = False
        post(world, "before")
        world.decide(RemoveMember(id="r", group="g", by="alice", user="bob"))
        post(world, "after")
        world.deliver()
        assert await bob.closed() == 1008
        assert [told[1] for told in bob.seen] == [CONNECTED, "before", LEFT]
        await alice.about("bob", LEFT)
        await alice.text()
        assert [told[1] for told in alice.seen if len(told) == 3] == ["before", "after"]


async def test_a_groups_end_closes_all_of_its_sockets_with_1008() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        alice, bob = await gateway.member(), await gateway.member(user="bob")
        post(world, "before")
        world.decide(DeleteGroup(id="d", group="g", by="alice"))
        for app in (alice, bob):
            assert await app.closed() == 1008
            assert app.seen[-1][1] == "before" or app.seen[-2][1] == "before"


async def test_a_gateway_that_lost_its_place_closes_with_1011() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        closing = asyncio.create_task(gateway.sessions.close_all(under_test.FAILED, WITHIN_S))
        assert await alice.closed() == 1011
        await closing


async def test_a_thousand_waiting_messages_fail_the_connection_and_nobody_elses() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        alice, bob = await gateway.member(), await gateway.member(user="bob")
        alice.socket._conn.protocol.transport.pause_reading()  # type: ignore[union-attr]
        text = "x" * 2_000
        for n in range(6_000):
            post(world, f"{n} {text}")
            assert (await bob.text()).split()[0] == str(n)
            if all(session.user != "alice" or session._code for session in gateway.sessions._due):
                break
        else:
            pytest.fail("the slow one stayed")
        alice.socket._conn.protocol.transport.resume_reading()  # type: ignore[union-attr]
        assert await alice.closed() == 1011
        said = [int(told[1].split()[0]) for told in alice.seen if len(told) == 3]
        assert said == list(range(len(said)))
        post(world, "on")
        assert await bob.text() == "on"


async def test_silence_brings_pings_and_pings_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "PING_S", 0.1)
    world = World()
    begin(world)
    async with running(world) as gateway:
        socket = await gateway.http.ws_connect(address(gateway.port, "g", "alice"), autoping=False)
        assert (await socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.TEXT
        sweeping = asyncio.create_task(gateway.sessions.run())
        for _ in range(2):
            ping = await socket.receive(timeout=WITHIN_S)
            assert ping.type is aiohttp.WSMsgType.PING
            await socket.pong(ping.data)
        sweeping.cancel()
        await socket.ping(b"mine")
        while (pong := await socket.receive(timeout=WITHIN_S)).type is aiohttp.WSMsgType.PING:
            pass  # it was silent meanwhile
        assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"mine")
        await socket.close()


async def test_silence_is_measured_from_the_last_frame_of_either_side_and_long_silence_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pings: list[bytes] = []
    monkeypatch.setattr(outbox.LegacyOutbox, "control", lambda _, frame: pings.append(frame))
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        session = only(gateway)
        now = asyncio.get_running_loop().time()
        session._heard_at, session._outbox.written_at = now - 50, now
        session.beat(now + 0.9)
        session._heard_at, session._outbox.written_at = now, now - 50
        session.beat(now + 0.9)
        assert pings == []
        session.beat(now + 1.0)
        assert len(pings) == 1
        session._hears = False  # it is not read from
        session.beat(now + 61)
        session._hears = True
        session.beat(now + 59.9)
        assert session._transport.is_closing() is False
        session.beat(now + 60)
        assert await alice.closed() == 1006


async def test_a_storm_of_presence_is_shown_as_far_as_there_is_room_and_fails_nobody() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        alice.socket._conn.protocol.transport.pause_reading()  # type: ignore[union-attr]
        users = tuple(f"user {n} {'x' * 100}" for n in range(1_000))
        for _ in range(40):
            world.hub.signal(PresenceChange("g", joined=users))
            world.hub.signal(PresenceChange("g", left=users))
            await asyncio.sleep(0)
        assert only(gateway)._outbox.waiting() < outbox.WAITING_MESSAGES
        alice.socket._conn.protocol.transport.resume_reading()  # type: ignore[union-attr]
        post(world, "on")
        assert await alice.text() == "on"
        assert len(alice.seen) > 1_000
