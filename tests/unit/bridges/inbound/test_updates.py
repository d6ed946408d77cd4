"""What a message of the user service means, and what its commands do to a group (protocol §8 and §9)."""

from typing import Any

import pytest

from app.domain.commands import Command
from app.domain.decide import Outcome, decide
from app.domain.events import Event, GroupCreated, MemberJoined, MemberRemoved, NewMember
from app.domain.evolve import evolve
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Duplicate, Rejection
from app.domain.state import Group
from bridges.inbound import updates
from bridges.inbound.updates import Ids, Refused, Update
from tests.support.bridges import body

KINDS = {
    "GROUP_CREATED": ("GroupCreatedEvent", "createdBy"),
    "MEMBER_ADDED": ("AddedMemberToGroupEvent", "addedMember"),
    "MEMBER_REMOVED": ("RemovedMemberToGroupEvent", "removedMember"),
}


def meaning(kind: str, user: str | None = None, *, group: str = "g1", message_id: str | None = None) -> Update:
    if user is None:
        encoded = body("GroupDeletedEvent", group)
    else:
        record, field = KINDS[kind]
        encoded = body(record, group, **{field: user})
    found = updates.read({"message_type": kind}, encoded, message_id=message_id, delivery="d1")
    assert isinstance(found, Update)
    return found


class Owner:
    """The owner of the group: decides a message's commands in turn."""

    def __init__(self) -> None:
        self.group = Group("g1")

    def take(self, kind: str, user: str | None = None, message_id: str | None = None) -> list[Event]:
        """The events that a message becomes."""
        outcomes = [self._decide(c) for c in meaning(kind, user, message_id=message_id).commands]
        assert all(isinstance(outcome, Event | Rejection | Duplicate) for outcome in outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, Event)]

    def _decide(self, command: Any) -> Outcome:
        outcome = decide(self.group, command, now_ms=1_795_569_600_000, event_id="e")
        if isinstance(outcome, Event):
            digest = digest_of_command(command) if command.client_msg_id is not None else ""
            self.group = evolve(self.group, outcome, digest) or self.group
        return outcome


@pytest.mark.parametrize("kind", ["GROUP_CREATED", "MEMBER_ADDED"])
def test_who_comes_first_owns_a_group_named_like_its_id_by_nobody(kind: str) -> None:
    (event,) = Owner().take(kind, "u1")

    assert event.by is None
    assert event.data == GroupCreated(
        name="g1", topic="", join="invite", history="all", members=(NewMember("u1", "owner"),)
    )


@pytest.mark.parametrize("kind", ["GROUP_CREATED", "MEMBER_ADDED"])
def test_who_comes_later_is_a_member(kind: str) -> None:
    owner = Owner()
    owner.take("MEMBER_ADDED", "u1")

    (event,) = owner.take(kind, "u2")

    assert event.data == MemberJoined(user="u2", role="member")


@pytest.mark.parametrize("kind", ["GROUP_CREATED", "MEMBER_ADDED"])
def test_a_repeated_join_changes_nothing(kind: str) -> None:
    owner = Owner()
    owner.take("GROUP_CREATED", "u1")

    assert owner.take(kind, "u1") == []


def test_the_removal_of_the_owner_names_who_was_there_longest() -> None:
    owner = Owner()
    for user in ("u1", "u2", "u3"):
        owner.take("MEMBER_ADDED", user)

    (event,) = owner.take("MEMBER_REMOVED", "u1")

    assert event.data == MemberRemoved(user="u1", banned=False, owner="u2")


def test_a_deleted_group_is_unknown_and_an_addition_begins_a_new_one() -> None:
    owner = Owner()
    owner.take("GROUP_CREATED", "u1")

    assert [e.kind for e in owner.take("GROUP_DELETED")] == ["group.deleted"]
    assert owner.take("MEMBER_REMOVED", "u1") == []
    assert owner.take("GROUP_DELETED") == []
    (event,) = owner.take("MEMBER_ADDED", "u2")
    assert isinstance(event.data, GroupCreated)
    assert event.data.members == (NewMember("u2", "owner"),)


def test_a_group_that_everybody_left_is_owned_by_who_is_added_first() -> None:
    owner = Owner()
    owner.take("GROUP_CREATED", "u1")
    owner.take("MEMBER_REMOVED", "u1")

    (event,) = owner.take("MEMBER_ADDED", "u2")

    assert event.data == MemberJoined(user="u2", role="owner")


def test_with_an_id_a_repeated_addition_changes_nothing_even_after_the_removal() -> None:
    owner = Owner()
    owner.take("GROUP_CREATED", "u1", message_id="m1")
    owner.take("MEMBER_ADDED", "u2", message_id="m2")
    owner.take("MEMBER_REMOVED", "u2", message_id="m3")

    assert owner.take("MEMBER_ADDED", "u2", message_id="m2") == []
    assert owner.take("GROUP_CREATED", "u1", message_id="m1") == []
    assert owner.take("MEMBER_REMOVED", "u2", message_id="m3") == []


def test_with_an_id_a_repeated_addition_does_not_bring_a_deleted_group_back() -> None:
    owner = Owner()
    owner.take("GROUP_CREATED", "u1", message_id="m1")
    owner.take("MEMBER_ADDED", "u2", message_id="m2")
    owner.take("GROUP_DELETED", message_id="m3")

    assert owner.take("MEMBER_ADDED", "u2", message_id="m2") == []


def test_with_an_id_the_message_that_created_a_group_begins_it_again_after_its_deletion_as_for_clients() -> None:
    owner = Owner()
    owner.take("MEMBER_ADDED", "u1", message_id="m1")
    owner.take("GROUP_DELETED", message_id="m2")

    assert [e.kind for e in owner.take("MEMBER_ADDED", "u1", message_id="m1")] == ["group.created"]


def test_the_same_message_has_the_same_ids_and_another_one_others() -> None:
    first = Ids.of(message_id="m", message_type="MEMBER_ADDED", body=b"b", delivery="d1")

    assert first == Ids.of(message_id="m", message_type="MEMBER_ADDED", body=b"b", delivery="d2")
    others = [
        Ids.of(message_id="n", message_type="MEMBER_ADDED", body=b"b", delivery="d1"),
        Ids.of(message_id="m", message_type="GROUP_CREATED", body=b"b", delivery="d1"),
        Ids.of(message_id="m", message_type="MEMBER_ADDED", body=b"c", delivery="d1"),
    ]
    assert first not in others


def test_without_an_id_each_delivery_has_its_own_and_no_key() -> None:
    first = Ids.of(message_id=None, message_type="MEMBER_ADDED", body=b"b", delivery="d1")
    second = Ids.of(message_id="", message_type="MEMBER_ADDED", body=b"b", delivery="d2")

    assert first.command != second.command
    assert (first.key, second.key) == (None, None)


def test_ids_are_short_enough_for_a_key_whatever_the_publishers_is() -> None:
    for command in meaning("MEMBER_ADDED", "u1", message_id="\udcff" * 255).commands:
        assert len((command.client_msg_id or "").encode()) <= 64


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (None, "no headers"),
        ({}, "no headers"),
        ({"type": "GROUP_DELETED"}, "no message_type"),
        ({"message_type": "GROUP_RENAMED"}, "unknown message_type"),
        ({"message_type": ""}, "unknown message_type"),
        ({"message_type": "GROUP_DELETED "}, "unknown message_type"),
        ({"message_type": b"GROUP_DELETED"}, "unknown message_type"),
        ({"message_type": bytearray(b"GROUP_DELETED")}, "unknown message_type"),
        ({"message_type": None}, "unknown message_type"),
        ({"message_type": 1}, "unknown message_type"),
        ({"message_type": True}, "unknown message_type"),
        ({"message_type": ["GROUP_DELETED"]}, "unknown message_type"),
        ({"message_type": {"GROUP_DELETED": 1}}, "unknown message_type"),
    ],
)
def test_wrong_headers_are_refused_with_their_reason(headers: dict[str, Any] | None, reason: str) -> None:
    found = updates.read(headers, bytes.fromhex("046731"), delivery="d1")

    assert isinstance(found, Refused)
    assert found.reason == reason


def test_what_is_told_of_a_bad_body_quotes_none_of_it() -> None:
    found = updates.read({"message_type": "GROUP_DELETED"}, b"secret", delivery="d1")

    assert isinstance(found, Refused)
    assert "secret" not in found.detail


@pytest.mark.parametrize("user", ["", "x" * 129, " u", "u\n", "."])
def test_ids_that_no_door_lets_in_are_refused(user: str) -> None:
    encoded = body("AddedMemberToGroupEvent", "g1", addedMember=user)

    found = updates.read({"message_type": "MEMBER_ADDED"}, encoded, delivery="d1")

    assert isinstance(found, Refused)
    assert found.reason == "bad id"


def test_all_commands_of_a_message_are_of_its_group_and_by_nobody() -> None:
    found: tuple[Command, ...] = meaning("GROUP_CREATED", "u1").commands

    assert {(c.group, c.by, c.origin) for c in found} == {("g1", None, "")}
    assert len({c.id for c in found}) == len(found)
