"""The replaced service's port around an in-memory log, and clients that are as strict as old apps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from app.domain.commands import CreateGroup, MemberSpec, Send
from tests.support.old_app import CONNECTED, OldApp, address
from tests.support.until import until
from tests.unit.web.world import World
from web import http
from web.legacy import door
from web.legacy.channels import Channels
from web.legacy.session import LegacyDoor, LegacySession
from web.legacy.sessions import LegacySessions
from web.legacy.translation import Translations
from web.presence import Presence, PresenceChange


class FakePresence(Presence):
    """Remembers what it is told, and announces it as an owner would if there were no other gateway."""

    def __init__(self, world: World) -> None:
        self.calls: list[tuple[str, str, str | None]] = []
        self.online: dict[tuple[str, str], set[str | None]] = {}
        self._world = world

    def enter(self, group: str, user: str, channel: str | None = None) -> None:
        self.calls.append(("enter", user, channel))
        channels = self.online.setdefault((group, user), set())
        again = (user,) if channels and channel is not None else ()
        opened = ((user, channel),) if channel is not None else ()
        joined = () if channels else (user,)
        channels.add(channel)
        self._signal(PresenceChange(group, joined=joined, again=again, opened=opened))

    def leave(self, group: str, user: str, channel: str | None = None) -> None:
        self.calls.append(("leave", user, channel))
        channels = self.online[group, user]
        channels.remove(channel)
        if not channels:
            self._signal(PresenceChange(group, left=(user,)))

    def is_wanted(self, group: str) -> bool:
        return False

    def learn(self, group: str, answer: Any) -> None:
        """Nothing: no answer was asked who is online."""

    def _signal(self, change: PresenceChange) -> None:
        if change.joined or change.left or change.opened:
            asyncio.get_running_loop().call_soon(self._world.hub.signal, change)


class LegacyGateway:
    """The old port of a world, on a free port of this machine."""

    def __init__(self, world: World, session: aiohttp.ClientSession) -> None:
        self.world = world
        self.http = session
        self.sessions = LegacySessions()
        self.is_open = True
        self.port = 0

    async def connect(self, group: str = "g", user: str = "alice") -> OldApp:
        """An old app's socket; nothing has been read."""
        return OldApp(await self.http.ws_connect(address(self.port, group, user), max_msg_size=0), group)

    async def member(self, group: str = "g", user: str = "alice") -> OldApp:
        """An old app that was told that it is connected."""
        app = await self.connect(group, user)
        assert await app.next() == (user, CONNECTED)
        return app


@asynccontextmanager
async def running(world: World) -> AsyncIterator[LegacyGateway]:
    """The old port, serving `world`."""
    presence = FakePresence(world)
    world.presence = presence
    world.service = type(world.service)(
        world.commander, world, world.hub, presence, request_timeout_s=world.service.request_timeout_s
    )
    async with aiohttp.ClientSession() as session:
        gateway = LegacyGateway(world, session)
        shared = LegacyDoor(world.service, Translations(), Channels(), lambda: gateway.is_open)
        runner = web.AppRunner(door.application(shared, gateway.sessions, list), shutdown_timeout=0.2)
        await runner.setup()
        listener = http.listening_socket("127.0.0.1", 0)
        await web.SockSite(runner, listener).start()
        gateway.port = runner.addresses[0][1]
        tasks = [asyncio.create_task(world.commander.run())]
        try:
            yield gateway
        finally:
            for task in tasks:
                task.cancel()
            await session.close()
            await gateway.sessions.drain(0.5)
            await runner.cleanup()


async def release_until(world: World, look: Callable[[], Any]) -> None:
    """Let what was held go to the log, again and again, until `look` says so."""

    def released() -> bool:
        world.release()
        return bool(look())

    await until(released, within_s=60)  # for some, as often as there are messages


def begin(world: World, *members: str) -> None:
    """Group `g` of alice and others."""
    others = tuple(MemberSpec(user) for user in members)
    world.decide(CreateGroup(id="c", group="g", by="alice", name="G", members=others))


def post(world: World, text: str, by: str = "alice") -> None:
    """A message, in the log."""
    key = f"{by} {text}"[:64]
    world.decide(Send(id=key, group="g", by=by, client_msg_id=key, text=text))


def texts(world: World) -> list[str]:
    """What was posted."""
    return [item["text"] for item in world.log.group("g").items.values()]


def only(gateway: LegacyGateway) -> LegacySession:
    """The one socket that there is."""
    [session] = gateway.sessions._due
    return session
