"""Whose token it is, and what is refused: a token never chooses how it is checked."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from app.config import Settings, SettingsError, load
from app.revocations import Revocation
from tests.support.issuer import Issuer, claims, document, jwk, private_key
from web.auth import Authenticator, Identity, Refused
from web.jwks import parse_jwks
from web.keys import Keys
from web.revocations import Revocations

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
ISSUER = Issuer()


class Standing(Keys):
    """Keys that nobody reads again."""

    def __init__(self, content: bytes | None) -> None:
        async def nothing() -> bytes:
            raise AssertionError

        super().__init__(nothing, refresh_s=1, present=None if content is None else parse_jwks(content))

    async def _read_anew(self) -> None:
        pass


def authenticator(*, keys: bytes | None = ISSUER.document, at: float | None = None, **settings: Any) -> Authenticator:
    chosen = Settings(**{"jwt_secret": SECRET, **settings})
    return Authenticator(chosen, Standing(keys), clock=time.time if at is None else lambda: at)


def raw_token(header: dict[str, Any] | str, payload: dict[str, Any] | str, secret: bytes = SECRET.encode()) -> str:
    """A token with exactly this header and these claims (JSON as it is, if text), signed as HS256."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in (header, payload)]
    signed = b".".join(base64.urlsafe_b64encode(text.encode()).rstrip(b"=") for text in texts)
    signature = hmac.digest(secret, signed, hashlib.sha256)
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def hs256(**others: Any) -> str:
    return raw_token({"alg": "HS256"}, {"sub": "alice", "exp": NOW + 60, **others})


async def why(token: str, of: Authenticator) -> str | None:
    """Why a token is refused, None if it is not."""
    known = await of.token(token)
    return known.why if isinstance(known, Refused) else None


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_each_algorithm_says_who_it_is_beside_those_of_the_secret(algorithm: str) -> None:
    of = authenticator()
    known = await of.token(ISSUER.token(algorithm, "Zoë/1"))
    assert isinstance(known, Identity)
    assert known.user == "Zoë/1"
    assert await why(jwt.encode(claims(), SECRET, "HS256"), of) is None


def pem(key: Any) -> bytes:
    return bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def n_of(key: Any) -> bytes:
    return str(jwk(key.public_key())["n"]).encode()


FORGED = {
    "none": raw_token({"alg": "none"}, claims()).rsplit(".", 1)[0] + ".",
    "none with a kid": raw_token({"alg": "None", "kid": "RS256"}, claims()).rsplit(".", 1)[0] + ".",
    "HS256 signed with the public key in PEM": raw_token({"alg": "HS256"}, claims(), pem(ISSUER.keys["RS256"])),
    "HS256 that names the key": raw_token({"alg": "HS256", "kid": "RS256"}, claims(), pem(ISSUER.keys["RS256"])),
    "HS256 signed with the modulus": raw_token({"alg": "HS256", "kid": "RS256"}, claims(), n_of(ISSUER.keys["RS256"])),
    "HS256 of another secret": jwt.encode(claims(), "x" * 32, "HS256"),
    "HS512": jwt.encode(claims(), SECRET * 2, "HS512"),
    "RS512": jwt.encode(claims(), ISSUER.keys["RS256"], "RS512", headers={"kid": "RS256"}),
    "PS256": jwt.encode(claims(), ISSUER.keys["RS256"], "PS256", headers={"kid": "RS256"}),
    "an unknown kid": jwt.encode(claims(), ISSUER.keys["RS256"], "RS256", headers={"kid": "other"}),
    "the kid of a key of another kind": jwt.encode(claims(), ISSUER.keys["RS256"], "RS256", headers={"kid": "ES256"}),
    "another key under a known kid": jwt.encode(claims(), private_key("ES256"), "ES256", headers={"kid": "ES256"}),
    "a key that it brings along": jwt.encode(
        claims(),
        forger := private_key("ES256"),
        "ES256",
        headers={"kid": "x", "jwk": jwk(forger.public_key()), "jku": "http://127.0.0.1:1/"},
    ),
    "a critical header": jwt.encode(claims(), ISSUER.keys["ES256"], "ES256", headers={"kid": "ES256", "crit": ["x"]}),
    "a kid that is no string": raw_token({"alg": "ES256", "kid": 5}, claims()),
    "an alg that is no string": raw_token({"alg": ["HS256"]}, claims()),
    "no alg": raw_token({}, claims()),
    "a header that is no object": raw_token("[]", claims()),
    "a deep header": raw_token("[" * 10_000, claims()),
    "a payload that is no object": raw_token({"alg": "HS256"}, "[]"),
    "a payload that is not JSON": raw_token({"alg": "HS256"}, "{"),
    "a deep payload": raw_token({"alg": "HS256"}, '{"a":' * 5_000 + "1" + "}" * 5_000),
    "a number of many digits": raw_token({"alg": "HS256"}, '{"sub":"alice","exp":' + "9" * 5_000 + "}"),
    "nothing": "",
    "dots": "..",
    "no base64": "é.é.é",
    "a lone surrogate": "\ud800.\ud800.\ud800",
    "60 KiB": "a" * 61_440,
    "60 KiB of dots": "." * 61_440,
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_a_token_that_chooses_how_it_is_checked_is_refused(token: str) -> None:
    assert await why(token, authenticator()) == "invalid"


async def test_a_secret_checks_nothing_where_only_public_keys_are_set_and_the_other_way_round() -> None:
    only_keys = authenticator(jwt_secret=None)
    only_secret = Authenticator(Settings(jwt_secret=SECRET))
    assert await why(jwt.encode(claims(), SECRET, "HS256"), only_keys) == "invalid"
    assert await why(raw_token({"alg": "HS256"}, claims(), b""), only_keys) == "invalid"
    assert await why(ISSUER.token("ES256"), only_keys) is None
    assert await why(ISSUER.token("ES256"), only_secret) == "invalid"


async def test_where_no_keys_were_ever_read_nobody_is_called_a_liar() -> None:
    of = authenticator(keys=None)
    assert await why(ISSUER.token("ES256"), of) == "unavailable"
    assert await why(jwt.encode(claims(), SECRET, "HS256"), of) is None
    assert await why(raw_token({"alg": "none"}, claims()), of) == "invalid"


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        ({"exp": NOW + 1}, None),
        ({"exp": NOW + 0.5}, None),
        ({"exp": NOW - 4.9}, None),
        ({"exp": NOW - 5}, "expired"),
        ({"exp": NOW - 5.1}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -1e300}, "expired"),
        ({"exp": 1e300}, None),
        ({"exp": 10**400}, None),
        ({"exp": -(10**400)}, "expired"),
        ({"exp": None}, "invalid"),
        ({"exp": True}, "invalid"),
        ({"exp": "1900000000"}, "invalid"),
        ({"exp": [NOW + 60]}, "invalid"),
        ({"exp": float("nan")}, "invalid"),
        ({"exp": float("inf")}, "invalid"),
        ({"nbf": NOW + 4.9}, None),
        ({"nbf": NOW + 5.1}, "invalid"),
        ({"nbf": "0"}, "invalid"),
        ({"nbf": None}, "invalid"),
        ({"nbf": float("nan")}, "invalid"),
        ({"iat": NOW + 3_600}, None),
        ({"iat": "now"}, "invalid"),
        ({"iat": False}, "invalid"),
    ],
)
async def test_the_times_of_a_token_hold_within_the_leeway_and_strange_ones_are_refused(
    times: dict[str, Any], refused: str | None
) -> None:
    assert await why(hs256(**times), authenticator(at=NOW)) == refused


async def test_a_token_without_exp_is_refused() -> None:
    token = raw_token({"alg": "HS256"}, {"sub": "alice"})
    assert await why(token, authenticator(at=NOW)) == "invalid"


async def test_the_leeway_is_a_setting_and_part_of_a_proofs_life() -> None:
    of = authenticator(at=NOW, jwt_leeway_s=0)
    assert await why(hs256(exp=NOW), of) == "expired"
    known = await authenticator(at=NOW, jwt_leeway_s=7).token(hs256(exp=NOW + 1.5, iat=NOW - 3))
    assert known == Identity("alice", NOW + 8.5, NOW - 3)


@pytest.mark.parametrize(
    "user", ["", " alice", "alice ", "a\x00b", "a\nb", ".", "..", "é" * 65, "\ud800", None, 5, True, ["alice"], {}]
)
async def test_a_sub_that_is_no_user_id_is_refused(user: Any) -> None:
    assert await why(hs256(sub=user), authenticator(at=NOW)) == "invalid"


@pytest.mark.parametrize("user", ["a/b", "100%", "🦊", "e\u0301", "\u00e9", "é" * 64, "<script>", "a b"])
async def test_a_sub_is_taken_byte_for_byte(user: str) -> None:
    known = await authenticator(at=NOW).token(hs256(sub=user))
    assert isinstance(known, Identity)
    assert known.user.encode() == user.encode()


@pytest.mark.parametrize(
    ("others", "refused"),
    [
        ({"aud": "chat", "iss": "us"}, None),
        ({"aud": ["other", "chat"], "iss": "us"}, None),
        ({"aud": "other", "iss": "us"}, "invalid"),
        ({"iss": "us"}, "invalid"),
        ({"aud": ["chat", 5], "iss": "us"}, "invalid"),
        ({"aud": {"chat": 1}, "iss": "us"}, "invalid"),
        ({"aud": "chat"}, "invalid"),
        ({"aud": "chat", "iss": "them"}, "invalid"),
        ({"aud": "chat", "iss": ["us"]}, "invalid"),
    ],
)
async def test_audience_and_issuer_must_be_those_that_are_set(others: dict[str, Any], refused: str | None) -> None:
    of = authenticator(at=NOW, jwt_audience="chat", jwt_issuer="us")
    assert await why(hs256(**others), of) == refused
    assert await why(hs256(**others), authenticator(at=NOW)) is None  # nothing is set: nothing is asked


async def test_tokens_issued_until_a_revocation_and_those_that_do_not_say_are_refused() -> None:
    revocations = Revocations()
    of = Authenticator(Settings(jwt_secret=SECRET), None, revocations, lambda: NOW)
    assert await why(hs256(), of) is None
    revocations.learn([Revocation("alice", NOW - 9.5)])
    assert await why(hs256(iat=NOW - 10), of) == "revoked"
    assert await why(hs256(iat=int(NOW - 9.5)), of) == "revoked"  # issued in the same second: perhaps before
    assert await why(hs256(iat=NOW - 9), of) is None
    assert await why(hs256(), of) == "revoked"
    assert await why(hs256(sub="bob"), of) is None
    assert await why(hs256(iat=NOW - 100, exp=NOW - 50), of) == "expired"


@pytest.mark.parametrize(
    ("headers", "users"),
    [
        (["Bearer"], []),
        (["Bearer "], []),
        (["Basic abc"], []),
        ([hs256()], []),
        ([f"Bearer {hs256()}", f"Bearer {hs256()}"], []),
        ([], [""]),
        ([], ["."]),
        ([], ["\ud800"]),
        ([], ["alice", "alice"]),
        ([], ["alice", "bob"]),
        ([], None),
    ],
)
async def test_who_cannot_be_told_at_the_door_is_refused(headers: list[str], users: list[str] | None) -> None:
    assert isinstance(await authenticator(at=NOW, auth="dev").handshake(headers, users), Refused)


async def test_a_bare_name_is_believed_in_development_mode_only_and_a_token_goes_before_it() -> None:
    dev, jwt_only = authenticator(at=NOW, auth="dev"), authenticator(at=NOW)
    assert await dev.handshake([], ["bob"]) == Identity("bob", issued_at=NOW)
    assert isinstance(await jwt_only.handshake([], ["bob"]), Refused)
    assert await jwt_only.handshake([], []) is None
    for of in (dev, jwt_only):
        known = await of.handshake([f"bEARER  {hs256()}"], ["bob"])
        assert isinstance(known, Identity)
        assert known.user == "alice"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUERBACH_JWT_SECRET", pem(ISSUER.keys["RS256"]).decode()),
        ("AUERBACH_JWT_SECRET", "short"),
        ("AUERBACH_JWT_LEEWAY_S", "nan"),
        ("AUERBACH_JWT_LEEWAY_S", "inf"),
        ("AUERBACH_JWT_JWKS_REFRESH_S", "0"),
        ("AUERBACH_ORIGINS", "https://a.example/"),
        ("AUERBACH_ORIGINS", "https://a.example, b.example"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load()


def test_a_door_that_nobody_could_pass_is_refused_and_each_way_to_pass_is_enough() -> None:
    with pytest.raises(SettingsError, match="AUERBACH_JWT_SECRET: must be set"):
        Settings().need_authentication()
    with pytest.raises(SettingsError, match="AUERBACH_JWT_JWKS: /nowhere: no such file"):
        Settings(jwt_jwks="/nowhere").need_authentication()
    for enough in (Settings(jwt_secret=SECRET), Settings(jwt_jwks="https://a.example/keys"), Settings(auth="dev")):
        enough.need_authentication()


async def test_two_keys_of_one_algorithm_need_a_kid() -> None:
    one, other = private_key("ES256"), private_key("ES256")
    alone = authenticator(keys=document(jwk(one.public_key(), kid="1")))
    both = authenticator(keys=document(jwk(one.public_key(), kid="1"), jwk(other.public_key(), kid="2")))
    bare = jwt.encode(claims(), one, "ES256")
    assert await why(bare, alone) is None
    assert await why(bare, both) == "invalid"
    assert await why(jwt.encode(claims(), other, "ES256", headers={"kid": "2"}), both) is None
