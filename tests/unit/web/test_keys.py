"""Sets of public keys: which are of use, and how they are kept fresh."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from app.config import Settings, SettingsError
from tests.support.issuer import document, jwk, private_key
from tests.support.loop_clock import LoopClock
from tests.support.until import until
from web import keys as keys_module
from web.jwks import JWKS_BYTES, KEYS, JwksError, parse_jwks
from web.keys import Keys, fetch, keys_of

RSA, EC, ED = (private_key(algorithm) for algorithm in ("RS256", "ES256", "EdDSA"))
public = [key.public_key() for key in (RSA, EC, ED)]
TOO_MANY = document(*([jwk(public[2])] * (KEYS + 1)))


@pytest.mark.parametrize(("key", "algorithm"), zip(public, ("RS256", "ES256", "EdDSA"), strict=True))
def test_each_kind_of_key_is_for_one_algorithm(key: Any, algorithm: str) -> None:
    found = parse_jwks(document(jwk(key, kid="k", alg=algorithm, use="sig", key_ops=["verify"])))
    assert [each for each in ("HS256", "RS256", "ES256", "EdDSA") if found.find(each, "k") is not None] == [algorithm]
    assert found.find(algorithm, "other") is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}, "is not of RSA, P-256 or Ed25519"),
        (jwk(ec.generate_private_key(ec.SECP384R1()).public_key()), "is not of RSA, P-256 or Ed25519"),
        (jwk(ed448.Ed448PrivateKey.generate().public_key()), "is not of RSA, P-256 or Ed25519"),
        (jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()), "has 1024 bits"),
        (jwk(public[0], alg="RS512"), "is for another algorithm"),
        (jwk(public[0], alg="HS256"), "is for another algorithm"),
        (jwk(public[0], alg=None), "is for another algorithm"),
        (jwk(public[0], use="enc"), "is not for signatures"),
        (jwk(public[0], key_ops=["encrypt"]), "is not for signatures"),
        (jwk(public[0], key_ops="verify"), "is not for signatures"),
        (jwk(public[0], kid=5), "has a kid that is no string"),
        (jwk(RSA), "is a private one"),
        (jwk(ED), "is a private one"),
        ({**jwk(public[1]), "x": "AAAA"}, "does not decode"),
        ({"kty": "RSA", "n": 5, "e": None}, "does not decode"),
        ({"kty": ["RSA"]}, "is not of RSA"),
        ("RSA", "is not of RSA"),
    ],
)
def test_a_key_that_may_not_check_tokens_is_left_out_and_told_of_without_its_content(entry: Any, why: str) -> None:
    with pytest.raises(JwksError, match=f"no key of use here: key 1 {why}") as refused:
        parse_jwks(document(entry))
    assert "AAAA" not in str(refused.value)
    assert parse_jwks(document(entry, jwk(public[2], kid="k"))).find("EdDSA", "k") is not None


def test_an_issuer_withdraws_its_last_key_by_an_empty_set() -> None:
    assert parse_jwks(b'{"keys":[]}').keys == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"keys":{}}', b"\xff", b"[" * 100_000, TOO_MANY],
)
def test_what_is_no_set_of_keys_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(JwksError):
        parse_jwks(content)


def test_a_token_without_a_kid_is_checked_by_the_only_key_of_its_algorithm() -> None:
    one = parse_jwks(document(jwk(public[1], kid="a"), jwk(public[2], kid="b")))
    two = parse_jwks(document(jwk(public[1], kid="a"), jwk(private_key("ES256").public_key(), kid="b")))
    assert one.find("ES256", None) is not None
    assert two.find("ES256", None) is None


class Source:
    """Where keys are read from: counts, and fails or waits when told to."""

    def __init__(self) -> None:
        self.document: bytes | Exception = document(jwk(public[1], kid="old"))
        self.readings = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> bytes:
        self.readings += 1
        now = self.document
        await self.open.wait()
        if isinstance(now, Exception):
            raise now
        return now


@asynccontextmanager
async def kept(keys: Keys) -> AsyncIterator[Keys]:
    task = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        task.cancel()


async def test_a_key_that_is_new_at_the_issuer_is_found_at_once() -> None:
    source = Source()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        await until(lambda: keys.present)
        source.document = document(jwk(public[1], kid="old"), jwk(public[2], kid="new"))
        assert await keys.find("ES256", "old") is not None
        assert source.readings == 1
        assert await keys.find("EdDSA", "new") is not None
        assert source.readings == 2


async def test_unknown_keys_that_many_ask_for_at_once_are_one_reading() -> None:
    source = Source()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        await until(lambda: keys.present)
        found = await asyncio.gather(*(keys.find("ES256", f"k{i}") for i in range(100)))
        assert found == [None] * 100
        assert source.readings == 2


async def test_who_asks_while_a_reading_is_under_way_waits_for_the_next_and_the_next_is_not_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys_module, "ASKED_INTERVAL_S", 300)
    clock = LoopClock(monkeypatch)
    source = Source()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        await until(lambda: keys.present)
        source.open.clear()
        first = asyncio.create_task(keys.find("EdDSA", "new"))
        await until(lambda: source.readings == 2)
        source.document = document(jwk(public[2], kid="new"))  # behind the reading that is under way
        second = asyncio.create_task(keys.find("EdDSA", "new"))
        await asyncio.sleep(0)
        source.open.set()
        assert await first is None
        await clock.put_forward(200)
        assert source.readings == 2
        await clock.put_forward(100)
        assert await second is not None
        assert source.readings == 3


async def test_one_who_gives_up_takes_the_reading_from_nobody() -> None:
    source = Source()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        await until(lambda: keys.present)
        source.document = document(jwk(public[2], kid="new"))
        source.open.clear()
        leaves, stays = (asyncio.create_task(keys.find("EdDSA", "new")) for _ in range(2))
        await until(lambda: source.readings == 2)
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
        source.open.set()
        assert await stays is not None


@pytest.mark.parametrize("failure", [OSError("gone"), aiohttp.ClientError(), JwksError("bad"), TimeoutError(), b"{}"])
async def test_a_reading_that_fails_leaves_the_keys_as_they_are(
    failure: Exception | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "RETRY_S", 600)
    monkeypatch.setattr(keys_module, "LONGEST_RETRY_S", 600)
    source = Source()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        await until(lambda: keys.present)
        source.document = failure
        assert await keys.find("ES256", "other") is None
        assert source.readings == 2
        assert await keys.find("ES256", "old") is not None


async def test_keys_are_read_again_before_anybody_asks_and_what_they_lack_is_gone() -> None:
    source = Source()
    async with kept(Keys(source, refresh_s=0.01)) as keys:
        await until(lambda: keys.present)
        source.document = document(jwk(public[2], kid="new"))
        await until(lambda: keys.present is not None and keys.present.find("EdDSA", "new"))
        assert keys.present is not None
        assert keys.present.find("ES256", "old") is None


async def test_a_source_that_does_not_answer_holds_nobody_for_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "READ_S", 0.05)
    monkeypatch.setattr(keys_module, "RETRY_S", 0.01)
    source = Source()
    source.open.clear()
    async with kept(Keys(source, refresh_s=3600)) as keys:
        assert await keys.find("ES256", "old") is None
        source.open.set()
        await until(lambda: keys.present)  # by itself: nobody asks


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"{}", "is no JWKS"), (b"a" * 300_000, "bytes")])
async def test_a_bad_file_is_a_setting_that_is_wrong(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_bytes(content)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(SettingsError, match=f"AUERBACH_JWT_JWKS: {path}: .*{why}"):
            keys_of(Settings(jwt_jwks=str(path)), session)


async def test_the_keys_of_a_file_are_there_at_once_and_follow_it(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(document(jwk(public[1], kid="old")))
    async with aiohttp.ClientSession() as session:
        keys = keys_of(Settings(jwt_jwks=str(path)), session)
    assert keys is not None
    assert keys.present is not None
    path.write_bytes(document(jwk(public[2], kid="new")))
    async with kept(keys):
        assert await keys.find("EdDSA", "new") is not None


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A server with good, large, missing and moved documents."""
    good = document(jwk(public[1], kid="k"))

    async def serve(request: web.Request) -> web.Response:
        match request.match_info["name"]:
            case "good":
                return web.Response(body=good)
            case "large":
                return web.Response(body=b" " * JWKS_BYTES + good)
            case "moved":
                raise web.HTTPFound("/good")
            case "round":
                raise web.HTTPFound("/round")
        raise web.HTTPNotFound

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("name", ["good", "moved"])
async def test_a_url_is_fetched(server: str, name: str) -> None:
    async with aiohttp.ClientSession() as session:
        assert parse_jwks(await fetch(session, f"{server}/{name}")).find("ES256", "k") is not None


@pytest.mark.parametrize("name", ["large", "missing", "round"])
async def test_what_a_url_may_not_be_fails_and_is_bounded(server: str, name: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises((JwksError, aiohttp.ClientError)):
            await fetch(session, f"{server}/{name}")
