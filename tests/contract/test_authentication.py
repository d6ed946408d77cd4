"""Tokens at real gateways: keys behind a URL, their rotation, expiry, and revocation at every gateway."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import jwt
import pytest
from aiohttp import web

from tests.contract.client import Client
from tests.contract.conftest import Connect
from tests.support.issuer import Issuer, claims, document, jwk, private_key
from tests.support.ports import free_ports
from tests.support.stack import START_S, Command, Stack
from tests.support.until import until_answer
from web.keys import READ_S

REVOKED = "once-revoked"  # of this test's own: the other tests of this broker would find its tokens refused


async def revoke(env: Mapping[str, str], user: str) -> tuple[int, str]:
    """Run the command; its exit code and what it printed."""
    command = [sys.executable, "-m", "app", "revoke", user]
    ran = await asyncio.to_thread(
        subprocess.run, command, env=env, capture_output=True, text=True, timeout=START_S, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


async def test_a_revocation_closes_the_users_sockets_at_every_gateway(connect: Connect, stack: Stack) -> None:
    user = "mallory/🦊"
    sockets = [await connect(user, gateway) for gateway in (0, 1, 0, 1)]
    others = [await connect("trent", gateway) for gateway in (0, 1)]
    code, printed = await revoke(stack.env, user)
    assert (code, printed) == (0, f"revoked: the sockets of {user} close, tokens issued until now are refused\n")
    assert [await socket.closed() for socket in sockets] == [4510] * 4
    assert all([(await other.ask("ping"))["ok"] for other in others])


class KeyServer:
    """Serves a JWKS, once it is told that it may."""

    def __init__(self) -> None:
        self.content = b""
        self.url = ""
        self.may_answer = asyncio.Event()

    async def serve(self, _request: web.Request) -> web.Response:
        await self.may_answer.wait()
        return web.Response(body=self.content)


@asynccontextmanager
async def serving(server: KeyServer) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/keys", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield
    await runner.cleanup()


class Gateways:
    """Two gateways of our own before the shared log, which take tokens only."""

    def __init__(self, stack: Stack, data: Path, http: aiohttp.ClientSession, **settings: str) -> None:
        self.ports = [free_ports(1), free_ports(1)]
        ours = {"AUERBACH_AUTH": "jwt", "KAFKA_BOOTSTRAP": stack.bootstrap, "DATA": str(data)}
        self.env = {**stack.env, "AUERBACH_LEGACY": "0", **ours, **settings}
        self._data = data
        self._http = http
        self._commands: dict[int, Command] = {}

    def start(self, number: int) -> None:
        name, port = f"gateway-{number}", str(self.ports[number])
        output = self._data / f"{name}.out"
        self._commands[number] = Command(output, self.env, "gateway", "--gateway", name, "--port", port)

    async def waiting_for(self, number: int) -> list[str] | None:
        """What it waits for before it serves; None if it does not answer."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.ports[number]}/readyz") as response:
                return list((await response.json())["waiting_for"])
        except aiohttp.ClientError:
            return None

    async def until_waiting_for(self, number: int, what: list[str]) -> None:
        async def is_waiting() -> bool:
            assert self._commands[number].process.poll() is None, self.printed()
            return await self.waiting_for(number) == what

        await until_answer(is_waiting, START_S)

    async def knock(self, number: int, token: str | None = None) -> Client:
        """A socket, with a token in the header if there is one."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return Client(await self._http.ws_connect(f"ws://127.0.0.1:{self.ports[number]}/v1/ws", headers=headers))

    async def opened(self, number: int, token: str) -> Client:
        """A socket whose hello has been read."""
        client = await self.knock(number, token)
        assert (await client.next())["type"] == "hello"
        return client

    async def opened_with_a_new_key(self, number: int, token: str) -> Client:
        """As `opened`; where nobody is let in, the keys were read in vain: the machine stood still for so long."""
        while True:
            began = time.monotonic()
            try:
                return await self.opened(number, token)
            except aiohttp.WSServerHandshakeError:
                if time.monotonic() - began < READ_S:
                    raise

    async def refuses(self, number: int, token: str) -> bool:
        try:
            await self.knock(number, token)
        except aiohttp.WSServerHandshakeError as refused:
            return refused.status == 401
        return False

    def stop(self, number: int, how: signal.Signals = signal.SIGTERM) -> None:
        self._commands.pop(number).stop(how)

    def stop_all(self) -> None:
        for number in list(self._commands):
            self.stop(number, signal.SIGKILL)  # nobody waits for a drain

    def printed(self) -> str:
        """All that they have logged."""
        return "".join(path.read_text() for path in sorted(self._data.glob("*.out")))


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A server of keys, which does not answer yet."""
    server = KeyServer()
    async with serving(server):
        yield server


@pytest.fixture
async def gateways(
    stack: Stack, server: KeyServer, tmp_path: Path, http: aiohttp.ClientSession
) -> AsyncIterator[Gateways]:
    """Two gateways that wait for the keys of the server; no leeway."""
    gateways = Gateways(stack, tmp_path, http, AUERBACH_JWT_JWKS=server.url, AUERBACH_JWT_LEEWAY_S="0")
    for number in (0, 1):
        gateways.start(number)
    yield gateways
    server.may_answer.set()
    gateways.stop_all()


async def expiring_and_refreshed(gateways: Gateways, issuer: Issuer) -> tuple[Client, Client, float]:
    """Two sockets of one token, the second refreshed in time, and when the token ends.

    Where it ended before, as the machine stood still, one that lives longer is tried.
    """
    for lives_s in (3, 10, 60):
        expires_at = time.time() + lives_s
        token = issuer.token("ES256", "carol", exp=expires_at)
        try:
            ends, stays = await gateways.opened(0, token), await gateways.opened(0, token)
            refreshed = await stays.ask("auth", token=issuer.token("ES256", "carol"))
            assert refreshed["ok"], refreshed
        except (aiohttp.WSServerHandshakeError, AssertionError):
            if time.time() < expires_at:
                raise
        else:
            return ends, stays, expires_at
    raise AssertionError("each token ended before its socket was refreshed")


async def test_tokens_of_an_issuer_hold_until_they_expire_or_are_revoked_at_any_gateway_whenever_it_was_started(
    gateways: Gateways, server: KeyServer
) -> None:
    issuer = Issuer()
    server.content = issuer.document
    for number in (0, 1):
        await gateways.until_waiting_for(number, ["the keys of AUERBACH_JWT_JWKS"])
    server.may_answer.set()
    for number in (0, 1):
        await gateways.until_waiting_for(number, [])

    # Each algorithm, a key that is new at the issuer, and one that is nobody's
    old = issuer.token("RS256", REVOKED)
    alices = [await gateways.opened(0, old), await gateways.opened(1, issuer.token("EdDSA", REVOKED))]
    bob = await gateways.knock(1)
    assert (await bob.ask("auth", token=issuer.token("ES256", "bob")))["ok"]
    assert (await bob.next())["user"] == "bob"
    rotated, nobodys = private_key("ES256"), private_key("ES256")
    keys = [jwk(key.public_key(), kid=kid) for kid, key in issuer.keys.items()]
    server.content = document(jwk(rotated.public_key(), kid="next"), *keys)
    await gateways.opened_with_a_new_key(0, jwt.encode(claims("bob"), rotated, "ES256", headers={"kid": "next"}))
    assert await gateways.refuses(0, jwt.encode(claims("bob"), nobodys, "ES256", headers={"kid": "next"}))

    # Expiry, and a refresh in time
    ends, stays, expires_at = await expiring_and_refreshed(gateways, issuer)
    assert await ends.closed() == 4401
    assert expires_at <= time.time()
    assert (await stays.ask("ping"))["ok"]

    # Revocation
    assert (await revoke(gateways.env, REVOKED))[0] == 0
    assert [await alice.closed() for alice in alices] == [4510, 4510]
    assert (await bob.ask("ping"))["ok"]
    new = issuer.token("RS256", REVOKED)
    for number in (0, 1):
        assert await gateways.refuses(number, old)
        await gateways.opened(number, new)
    gateways.stop(1, signal.SIGKILL)
    gateways.start(1)
    await gateways.until_waiting_for(1, [])
    assert await gateways.refuses(1, old)
    await gateways.opened(1, new)
    assert old not in gateways.printed()
