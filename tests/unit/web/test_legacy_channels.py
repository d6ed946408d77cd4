"""A member's old sockets, around an in-memory log: the newest stays, at whichever gateway it is."""

from typing import Any

import pytest

from tests.support.old_app import CONNECTED, DISCONNECTED
from tests.support.until import until
from tests.unit.web.legacy_world import begin, only, post, running
from tests.unit.web.world import World
from web.legacy import channels
from web.presence import PresenceChange


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
        assert only(gateway)._order._doubt is None
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
            assert only(gateway)._order._doubt is None
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
