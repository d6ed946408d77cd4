"""Who is inside, on which proof; whoever's proof no longer holds is shown out (protocol §1, §6).

One sweep looks at all sockets, several times a second, by the wall clock: a timer for each would cost more, and would
not see that the clock was set (docs/adr/016).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from app.revocations import Revocation
from web.auth import Identity
from web.revocations import Revocations

SWEEP_S = 0.25

EXPIRED = 4401
REVOKED = 4510


class Guest(Protocol):
    """A socket that can be closed."""

    def stop(self, code: int) -> None:
        """Close with `code` as soon as the loop turns."""


class Admissions:
    """The proof of each authenticated socket. `clock` gives seconds since 1970."""

    def __init__(self, revocations: Revocations, clock: Callable[[], float] = time.time) -> None:
        self._revocations = revocations
        self._clock = clock
        self._inside: dict[Guest, tuple[Identity, float]] = {}

    def __len__(self) -> int:
        return len(self._inside)

    def admit(self, guest: Guest, identity: Identity) -> None:
        """`guest` is let in on this proof, which takes the place of an earlier one."""
        self._inside[guest] = (identity, self._clock())
        if self._revocations.refuses(identity.user, identity.issued_at):
            guest.stop(REVOKED)  # learned since the proof was checked

    def leave(self, guest: Guest) -> None:
        """`guest` has gone, if it ever was inside."""
        self._inside.pop(guest, None)

    def revoke(self, revocations: Sequence[Revocation]) -> None:
        """Take in what the topic tells, and close the sockets of those users.

        A proof that was shown before the revocation was issued before it, whatever the issuer's clock made it say.
        """
        self._revocations.learn(revocations)
        users = {revocation.user for revocation in revocations}
        for guest, (identity, since) in list(self._inside.items()):
            if identity.user in users and self._revocations.refuses(identity.user, _earlier(identity, since)):
                guest.stop(REVOKED)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Close the sockets whose proof has expired."""
        now = self._clock()
        expired = [guest for guest, (identity, _) in self._inside.items() if identity.expires_at <= now]
        for guest in expired:
            guest.stop(EXPIRED)


def _earlier(identity: Identity, since: float) -> float | None:
    return None if identity.issued_at is None else min(identity.issued_at, since)
