"""One old socket, around an in-memory log: who is let in, what it is told, what is posted, and how it ends."""

import asyncio
from typing import Any

import aiohttp
import pytest

from app.domain.commands import (
    AddMember,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    MemberSpec,
    React,
    RemoveMember,
    Send,
    SetRole,
    UpdateGroup,
)
from app.domain.outcomes import Rejection
from app.reads import Outcome
from tests.support.old_app import address
from tests.unit.web.legacy_world import LegacyGateway, running, until
from tests.unit.web.world import World
from web import sessions
from web.legacy import channels, outbox, posting
from web.legacy import session as under_test
from web.presence import PresenceChange

CONNECTED, DISCONNECTED = "client connected to the group", "client disconnected from the group"


def begin(world: World, *members: str) -> None:
    """Group `g` of alice and others."""
    others = tuple(MemberSpec(user) for user in members)
    world.decide(CreateGroup(id="c", group="g", by="alice", name="G", members=others))


def post(world: World, text: str, by: str = "alice") -> None:
    key = f"{by} {text}"[:64]
    world.decide(Send(id=key, group="g", by=by, client_msg_id=key, text=text))


def texts(world: World) -> list[str]:
    """What was posted."""
    return [item["text"] for item in world.log.group("g").items.values()]


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
        await until(lambda: len(gateway.sessions) == 1 and len(_only(gateway)._posting))
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
        await until(lambda: len(gateway.sessions) == 1 and len(_only(gateway)._posting))
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
        assert alice.seen[2:4] == [("carol", "client joined the group"), ("carol", "client leaved the group")]
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
        assert [told[1] for told in bob.seen] == [CONNECTED, "before", "client leaved the group"]
        await alice.about("bob", "client leaved the group")
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


async def test_a_second_socket_replaces_the_first_and_is_told_connected_again() -> None:
    world = World()
    begin(world, "bob")
    async with running(world) as gateway:
        bob = await gateway.member(user="bob")
        first = await gateway.member()
        await bob.about("alice", CONNECTED)
        await first.say("of the first")
        assert await bob.text() == "of the first"
        second = await gateway.member()
        assert await first.closed() == 1000
        await bob.about("alice", CONNECTED)
        await until(lambda: len(gateway.sessions) == 2)
        await second.say("x")
        assert await second.text() == "x"
        assert second.seen[0] == ("alice", CONNECTED)
        await bob.text()
        assert [told for told in bob.seen if told[1] == DISCONNECTED] == []
        await second.socket.close()
        await bob.about("alice", DISCONNECTED)


async def test_a_channel_at_another_gateway_replaces_this_one_and_a_late_word_of_an_older_one_does_not() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        presence: Any = world.presence
        presence.online["g", "alice"] = {"elsewhere"}
        presence._signal = lambda change: None
        alice = await gateway.member()
        [[_, _, mine]] = presence.calls
        world.hub.signal(PresenceChange("g", opened=(("alice", "older"),)))
        world.hub.signal(PresenceChange("g", opened=(("alice", mine),)))
        post(world, "still there")
        assert await alice.text() == "still there"
        assert _only(gateway)._order._doubt is None
        world.hub.signal(PresenceChange("g", opened=(("bob", "b"), ("alice", "newer"))))
        assert await alice.closed() == 1000
        await until(lambda: len(presence.calls) == 2)
        assert presence.calls[1] == ("leave", "alice", mine)


@pytest.mark.parametrize("stays", [True, False])
async def test_of_two_channels_that_are_told_of_at_once_the_last_one_stays(stays: bool) -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        presence: Any = world.presence
        presence._signal = lambda change: None
        alice = await gateway.member()
        [[_, _, mine]] = presence.calls
        told = [("alice", mine), ("alice", "the other")]
        world.hub.signal(PresenceChange("g", joined=("alice",), opened=tuple(told[::-1] if stays else told)))
        if stays:
            post(world, "still there")
            assert await alice.text() == "still there"
            assert _only(gateway)._order._doubt is None
        else:
            assert await alice.closed() == 1000


async def test_of_two_channels_opened_at_once_the_one_that_the_log_does_not_tell_of_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "LATE_S", 0.05)
    world = World()
    begin(world)
    async with running(world) as gateway:
        world.presence._signal = lambda change: None  # type: ignore[attr-defined]
        alice = await gateway.member()
        world.hub.signal(PresenceChange("g", joined=("alice",), opened=(("alice", "the other"),)))
        assert await alice.closed() == 1000


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
        await _release_until(world, lambda: len(gateway.sessions) == 0)
        assert texts(world) == ["a", "b"]


async def test_what_was_received_before_the_clients_close_is_posted() -> None:
    world = World()
    begin(world)
    world.gate.clear()
    async with running(world) as gateway:
        alice = await gateway.connect()
        await alice.say(*(f"m{n}" for n in range(300)))
        await until(lambda: len(_only(gateway)._posting) == posting.QUEUED)
        closing = asyncio.create_task(alice.socket.close())
        world.gate.set()
        await closing
        await until(lambda: not len(gateway.sessions))
        assert texts(world) == [f"m{n}" for n in range(300)]
        assert not world.hub.follows(b"g")


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
        draining = asyncio.create_task(gateway.sessions.drain(5, spread_s=0))
        await _release_until(world, draining.done)
        assert await closed == 1001
        assert texts(world) == ["a", "b"]


async def test_a_gateway_that_lost_its_place_closes_with_1011() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        closing = asyncio.create_task(gateway.sessions.close_all(under_test.FAILED, 5))
        assert await alice.closed() == 1011
        await closing


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
    monkeypatch.setattr(posting, "CERTAIN_WITHIN_S", 0.2)
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        await alice.say("a", "b")
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


async def test_a_socket_behind_a_full_queue_is_not_read_and_nothing_of_it_is_lost() -> None:
    world = World()
    begin(world)
    world.hold_commands = True
    async with running(world) as gateway:
        alice = await gateway.member()
        sent = [f"m{n} {'x' * 4_000}" for n in range(600)]
        saying = asyncio.create_task(alice.say(*sent))
        await until(lambda: len(_only(gateway)._posting) == posting.QUEUED)
        reading = asyncio.create_task(_texts(alice, 600))
        await _release_until(world, reading.done)
        await saying
        assert reading.result() == sent


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


async def test_a_second_of_silence_brings_a_ping_and_pings_are_answered() -> None:
    world = World()
    begin(world)
    async with running(world) as gateway:
        sweeping = asyncio.create_task(gateway.sessions.run())
        socket = await gateway.http.ws_connect(address(gateway.port, "g", "alice"), autoping=False)
        assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT
        for _ in range(2):
            ping = await socket.receive(timeout=10)
            assert ping.type is aiohttp.WSMsgType.PING
            await socket.pong(ping.data)
        await socket.ping(b"mine")
        pong = await socket.receive(timeout=10)
        assert (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"mine")
        await socket.close()
        sweeping.cancel()


async def test_silence_is_measured_from_the_last_frame_of_either_side_and_long_silence_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pings: list[bytes] = []
    monkeypatch.setattr(outbox.LegacyOutbox, "control", lambda _, frame: pings.append(frame))
    world = World()
    begin(world)
    async with running(world) as gateway:
        alice = await gateway.member()
        session = _only(gateway)
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
        assert _only(gateway)._outbox.waiting() < outbox.WAITING_MESSAGES
        alice.socket._conn.protocol.transport.resume_reading()  # type: ignore[union-attr]
        post(world, "on")
        assert await alice.text() == "on"
        assert len(alice.seen) > 1_000


# What the tests look at


def _only(gateway: LegacyGateway) -> under_test.LegacySession:
    [session] = gateway.sessions._due
    return session


async def _texts(app: Any, count: int) -> list[str]:
    return [await app.text() for _ in range(count)]


async def _release_until(world: World, done: Any) -> None:
    def look() -> bool:
        world.release()
        return bool(done())

    await until(look)


def _outcome(command: Any, refusal: Rejection) -> Any:
    return Outcome(command=command.id, refusal=refusal)
