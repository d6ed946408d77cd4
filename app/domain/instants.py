"""Instants as the protocol writes them: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=1024)  # the commands of one record have one instant
def to_text(at_ms: int) -> str:
    """`at_ms` (milliseconds since 1970) as text.

    >>> to_text(1795569600123)
    '2026-11-25T01:20:00.123Z'
    """
    return (_EPOCH + at_ms * _MILLISECOND).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def to_ms(text: str) -> int:
    """The milliseconds since 1970 that `text` names.

    >>> to_ms("2026-11-25T01:20:00.123Z")
    1795569600123
    """
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
