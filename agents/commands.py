"""A record of the commands topic, as its partition's owner gets it."""

from dataclasses import dataclass

from app.kafka.producer import Headers


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """One command or an array of them. `at_ms` is the broker's instant: the `now` of its commands (design I8)."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
