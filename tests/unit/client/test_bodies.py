"""What events say, typed: every kind that the service has, and what is newer than this package."""

from typing import Any

import msgspec
import pytest
from auerbach_client import bodies
from auerbach_client.bodies import Unknown, body_of

from app.domain.events import KINDS

EXAMPLES: dict[str, dict[str, Any]] = {
    "group.created": {
        "name": "G",
        "topic": "",
        "join": "open",
        "history": "all",
        "members": [{"user": "a", "role": "owner"}],
    },
    "group.updated": {"topic": "t"},
    "group.deleted": {},
    "member.joined": {"user": "a", "role": "member"},
    "member.left": {"user": "a"},
    "member.removed": {"user": "a", "banned": True},
    "member.unbanned": {"user": "a"},
    "member.role_changed": {"user": "a", "role": "owner", "from": "b"},
    "message.posted": {"text": "x", "reply_to": 2, "mentions": ["b"], "attributes": {"k": 1}},
    "message.edited": {"target": 2, "text": "y"},
    "message.deleted": {"target": 2},
    "reaction.added": {"target": 2, "emoji": "👍"},
    "reaction.removed": {"target": 2, "emoji": "👍"},
    "history.pruned": {"through": 9},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_a_typed_body_with_all_of_its_fields(kind: str) -> None:
    body = body_of(kind, EXAMPLES[kind])

    told = msgspec.json.decode(msgspec.json.encode(body))
    assert not isinstance(body, Unknown)
    assert {name: told[name] for name in EXAMPLES[kind]} == EXAMPLES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_that_the_service_writes_is_one_of_the_body(kind: str) -> None:
    def names(struct: type[msgspec.Struct]) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(struct)}

    assert names(KINDS[kind]) <= names(bodies._bodies[kind])


def test_what_was_deleted_since_has_no_text_and_no_target() -> None:
    redacted = {"text": None, "deleted": True}

    assert body_of("message.posted", redacted) == bodies.MessagePosted(deleted=True)
    assert body_of("message.edited", redacted) == bodies.MessageEdited(deleted=True)


@pytest.mark.parametrize(
    ("kind", "data"), [("poll.opened", {"q": 1}), ("message.posted", {"text": 7}), ("member.left", {}), ("", {})]
)
def test_what_is_not_understood_is_unknown_and_never_raises(kind: str, data: dict[str, Any]) -> None:
    assert body_of(kind, data) == Unknown(data=data)


def test_fields_that_are_newer_are_passed_over() -> None:
    assert body_of("member.left", {"user": "a", "why": "bored"}) == bodies.MemberLeft(user="a")
