"""Records of `chat.user.revocations.v1` (key: the user's id): tokens issued until an instant hold no longer."""

import math
from dataclasses import dataclass

import msgspec

from app.domain import rules
from app.domain.instants import to_ms, to_text


@dataclass(slots=True, frozen=True)
class Revocation:
    """`user`'s tokens issued until `until_s` (seconds since 1970) are void; None: whatever was said before is not."""

    user: str
    until_s: float | None


class _Record(msgspec.Struct, frozen=True):
    revoked_at: str


_decoder = msgspec.json.Decoder(_Record)


def encode_revocation(until_s: float) -> bytes:
    """The value of the record. The instant is rounded up: a token issued in the same millisecond is void, too."""
    return msgspec.json.encode(_Record(to_text(math.ceil(until_s * 1000))))


def parse_revocation(key: bytes | None, value: bytes | None) -> Revocation | None:
    """The revocation that a record tells; None if it tells none. A record without a value takes one back."""
    try:
        user = (key or b"").decode()
        until_s = None if value is None else to_ms(_decoder.decode(value).revoked_at) / 1000
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        return None
    return None if rules.bad_id(user) else Revocation(user, until_s)
