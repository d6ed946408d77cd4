"""Whose tokens no longer hold: the fold of `chat.user.revocations.v1` (protocol §9, docs/adr/016)."""

from collections.abc import Iterable

from app.revocations import Revocation


class Revocations:
    """For each user ever revoked, the instant until which tokens issued are void (seconds since 1970).

    It grows by one entry for each user whom an operator revokes, and shrinks by none: no token says how long its
    issuer's tokens may live.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def learn(self, revocations: Iterable[Revocation]) -> None:
        """Take in what the topic tells, in its order. An instant before a known one changes nothing."""
        for revocation in revocations:
            if revocation.until_s is None:
                self._until.pop(revocation.user, None)
            else:
                self._until[revocation.user] = max(revocation.until_s, self._until.get(revocation.user, 0.0))

    def refuses(self, user: str, issued_at: float | None) -> bool:
        """Whether a proof of `user` that was issued then is void. None: it does not say when.

        A token says the second in which it was issued; one of the very second of the revocation may be older than it,
        and is void.
        """
        until = self._until.get(user)
        return until is not None and (issued_at is None or issued_at <= until)
