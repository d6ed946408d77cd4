"""An issuer of tokens: real keys, and the JWKS that tells of them."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def private_key(algorithm: str) -> Private:
    """A new key for RS256, ES256 or EdDSA."""
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """A key as RFC 7517 writes it, public or private, with further members."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        written = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        written = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        written = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {**{name: value for name, value in written.items() if name != "key_ops"}, **members}


def document(*keys: Any) -> bytes:
    """A JWKS of these entries."""
    return json.dumps({"keys": list(keys)}).encode()


def claims(user: str = "alice", lives_s: float = 3_600, **others: Any) -> dict[str, Any]:
    """Claims of a token issued now, which outlives any test unless that says otherwise."""
    now = time.time()
    return {"sub": user, "iat": now, "exp": now + lives_s, **others}


class Issuer:
    """One key of each algorithm, its id the algorithm's name; `document` is the JWKS."""

    def __init__(self) -> None:
        self.keys = {algorithm: private_key(algorithm) for algorithm in ("RS256", "ES256", "EdDSA")}

    @property
    def document(self) -> bytes:
        return document(*(jwk(key.public_key(), kid=algorithm) for algorithm, key in self.keys.items()))

    def token(self, algorithm: str = "ES256", user: str = "alice", **others: Any) -> str:
        """A token signed with the key of `algorithm`."""
        return jwt.encode(claims(user, **others), self.keys[algorithm], algorithm, headers={"kid": algorithm})
