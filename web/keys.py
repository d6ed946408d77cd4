"""The keys that check tokens, read from a file or a URL: never on the loop, and before they are stale.

One task reads (`Keys.run`). It reads again as the setting says, and at once when a token names a key that is not
there, for that is how an issuer's new key shows first; but such tokens, which anybody can make, cause at most one
reading in `ASKED_INTERVAL_S`. A reading that fails leaves the keys as they are.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from app.config import Settings, SettingsError
from app.telemetry import logger
from web.jwks import JWKS_BYTES, JwksError, KeySet, PublicKey, parse_jwks

READ_S = 3.0
ASKED_INTERVAL_S = 3.0
# Whoever asks waits for one interval and two readings at most: less than a socket has to authenticate.
ASK_S = ASKED_INTERVAL_S + 2 * READ_S
RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
REDIRECTS = 3

Load = Callable[[], Awaitable[bytes]]

_log = logger("web")


class Keys:
    """The present keys; `present` is None until the first reading that succeeded.

    `load` brings the document. It may raise OSError, aiohttp.ClientError, TimeoutError or JwksError.
    """

    def __init__(self, load: Load, *, refresh_s: float, present: KeySet | None = None) -> None:
        self.present = present
        self._load = load
        self._refresh_s = refresh_s
        self._next: asyncio.Future[None] | None = None  # done when a reading that begins from now on has ended
        self._asked = asyncio.Event()
        self._asked_at = -ASKED_INTERVAL_S

    async def find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        """The key of a token, once the keys were read again if it is not among the present ones."""
        key = self._find(algorithm, kid)
        # Without an id it is ambiguous, not new: no reading would help.
        if key is None and (kid is not None or self.present is None):
            await self._read_anew()
            key = self._find(algorithm, kid)
        return key

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        failures = 0
        while True:
            reading, self._next = self._next, None
            self._asked.clear()
            read = await self._read()
            if reading is not None:
                reading.set_result(None)
            failures = 0 if read else failures + 1
            retry_s = min(RETRY_S * 2 ** min(failures, 10), LONGEST_RETRY_S, self._refresh_s)
            await self._pause((self._refresh_s if read else retry_s) * random.uniform(0.8, 1))

    def _find(self, algorithm: str, kid: str | None) -> PublicKey | None:
        return None if self.present is None else self.present.find(algorithm, kid)

    async def _read_anew(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._asked.set()
        try:
            async with asyncio.timeout(ASK_S):
                await asyncio.shield(self._next)  # shared by all who ask
        except TimeoutError:
            pass  # there are the keys that there were

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(READ_S):
                self.present = parse_jwks(await self._load())
        except (JwksError, OSError, ValueError, aiohttp.ClientError, TimeoutError) as failed:
            _log.warning("the keys of tokens cannot be read: those that are here stay", why=repr(failed))
            return False
        return True

    async def _pause(self, pause_s: float) -> None:
        """Wait so long, or until somebody asks and may."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(pause_s):
                await self._asked.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._asked_at + ASKED_INTERVAL_S - loop.time())
        self._asked_at = loop.time()


def keys_of(settings: Settings, session: aiohttp.ClientSession) -> Keys | None:
    """The keys that the settings name, None if they name none; those of a file are there already.

    Raises:
        SettingsError: the file cannot be read, or has no key of use.
    """
    source, refresh_s = settings.jwt_jwks, settings.jwt_jwks_refresh_s
    if source is None:
        return None
    if settings.jwt_jwks_is_url:
        return Keys(lambda: fetch(session, source), refresh_s=refresh_s)
    path = Path(source)
    try:
        present = parse_jwks(_content(path))
    except (JwksError, OSError) as bad:
        why = bad.strerror if isinstance(bad, OSError) else bad
        raise SettingsError(f"AUERBACH_JWT_JWKS: {path}: {why}") from None
    if not present.keys:
        raise SettingsError(f"AUERBACH_JWT_JWKS: {path}: it is empty")
    return Keys(lambda: asyncio.to_thread(_content, path), refresh_s=refresh_s, present=present)


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """The document at `url`.

    Raises:
        JwksError: it is too large.
        aiohttp.ClientError: the server cannot be reached, or answers otherwise than with 200.
    """
    async with session.get(url, headers={"Accept": "application/json"}, max_redirects=REDIRECTS) as response:
        if response.status != 200:
            raise JwksError(f"the server says {response.status}")
        document = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            document += chunk
            if len(document) > JWKS_BYTES:
                raise JwksError(f"has more than {JWKS_BYTES} bytes")
        return bytes(document)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        document = file.read(JWKS_BYTES + 1)
    if len(document) > JWKS_BYTES:
        raise JwksError(f"has more than {JWKS_BYTES} bytes")
    return document
