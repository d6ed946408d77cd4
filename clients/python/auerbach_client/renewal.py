"""Renewing the token of an open socket before it expires, so that nothing is interrupted (protocol §1)."""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

# Renewed when a quarter of its life is left, at the latest a minute before its end.
_SHARE_LEFT = 0.25
_MOST_LEFT_S = 60.0
# Between two tries: where there is no better token yet or the clocks disagree, twice as long each time.
_LEAST_S, _MOST_S = 0.5, 30.0

_log = logging.getLogger("auerbach_client")


class _Claims(msgspec.Struct):
    exp: float


def expires_at(token: str) -> float | None:
    """The `exp` of a JWT (seconds since 1970), unverified; None where the token does not say."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None


async def renew(token: str | None, fresh: Callable[[], Awaitable[str]], present: Callable[[str], None]) -> None:
    """Get a `fresh` token before `token` expires and `present` it to the server, again and again.

    Returns at once where the token does not say when it expires: then 4401 and a new connection renew it.
    """
    attempt = 0
    while token is not None and (expiry := expires_at(token)) is not None:
        left_s = expiry - time.time()
        pause_s = left_s - min(left_s * _SHARE_LEFT, _MOST_LEFT_S)
        await asyncio.sleep(max(pause_s, min(_MOST_S, _LEAST_S * 2.0 ** min(attempt, 60))))
        attempt += 1
        try:
            newer = await fresh()
        except Exception as failed:  # noqa: BLE001 - the caller's function: there may be a token later
            _log.warning("no fresh token: %r", failed)
            continue
        if newer != token:
            present(newer)
        if (expires_at(newer) or 0) > max(expiry, time.time()):
            attempt = 0
        token = newer
