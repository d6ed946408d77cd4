"""What becomes of a command that is no event: values, not exceptions (users can cause all of them)."""

from typing import Literal

import msgspec

Code = Literal[
    "invalid",
    "unauthorized",
    "forbidden",
    "not_a_member",
    "no_such_group",
    "already_exists",
    "already_a_member",
    "banned",
    "conflict",
    "last_owner",
    "no_such_message",
    "too_large",
    "too_many_groups",
    "rate_limited",
    "unavailable",
    "timeout",
    "internal",
]


class Rejection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refusal. `temporary`: the same request, with the same `client_msg_id`, may succeed later."""

    code: Code
    message: str
    field: str | None = None
    temporary: bool = False


class Duplicate(msgspec.Struct, frozen=True):
    """The command was accepted before, as the event `seq` at instant `at_ms`."""

    seq: int
    at_ms: int


class Unchanged(msgspec.Struct, frozen=True):
    """What was asked for is so already: nothing is written (protocol §9)."""
