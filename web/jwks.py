"""A set of public keys as RFC 7517 writes it: which of them may check a token, and with what algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
JWKS_BYTES = 262_144
KEYS = 64
RSA_BITS = range(2048, 8193)  # RFC 7518 §3.3; beyond it a check takes milliseconds


class JwksError(Exception):
    """Not a set of keys, or none of them can check a token; the message says why."""


@dataclass(slots=True, frozen=True)
class KeySet:
    """Keys by the one algorithm that each is for, and its id (None: it has none)."""

    keys: Mapping[tuple[str, str | None], PublicKey]

    def find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """The key for a token of this algorithm that names `kid`; without a `kid`, the only key of the algorithm."""
        if kid is not None:
            return self.keys.get((algorithm, kid))
        candidates = [key for (each, _), key in self.keys.items() if each == algorithm]
        return candidates[0] if len(candidates) == 1 else None


def parse_jwks(document: bytes) -> KeySet:
    """The keys of a JWKS that are of use here. The others (encryption keys, other algorithms, weak ones) are left out.

    An empty list is a set without keys: so an issuer withdraws its last one.

    Raises:
        JwksError: it is none, or no key is of use; says what is wrong with each, never what is in it.
    """
    try:
        content = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise JwksError("is not JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS:
        raise JwksError(f"is no JWKS: an object with `keys`, a list of at most {KEYS}")
    keys: dict[tuple[str, str | None], PublicKey] = {}
    faults = []
    for number, jwk in enumerate(listed, 1):
        try:
            algorithm, kid, key = _usable(jwk)
            keys.setdefault((algorithm, kid), key)
        except JwksError as why:
            faults.append(f"key {number} {why}")
    if faults and not keys:
        raise JwksError("has no key of use here: " + "; ".join(faults))
    return KeySet(keys)


def _usable(jwk: Any) -> tuple[str, str | None, PublicKey]:
    """The algorithm, the id and the key of one entry."""
    match jwk:
        case {"kty": "RSA"}:
            algorithm = "RS256"
        case {"kty": "EC", "crv": "P-256"}:
            algorithm = "ES256"
        case {"kty": "OKP", "crv": "Ed25519"}:
            algorithm = "EdDSA"
        case _:
            raise JwksError("is not of RSA, P-256 or Ed25519")
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if jwk.get("alg", algorithm) != algorithm:
        raise JwksError(f"is for another algorithm than {algorithm}")
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise JwksError("is not for signatures")
    if "d" in jwk:
        raise JwksError("is a private one")  # whoever may read this set could sign
    if kid is not None and not isinstance(kid, str):
        raise JwksError("has a kid that is no string")
    try:
        key = jwt.PyJWK(jwk, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise JwksError("does not decode") from None
    if isinstance(key, RSAPublicKey) and key.key_size not in RSA_BITS:
        raise JwksError(f"has {key.key_size} bits, must have {RSA_BITS[0]} to {RSA_BITS[-1]}")
    return algorithm, kid, key
