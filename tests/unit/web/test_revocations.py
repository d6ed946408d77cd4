"""Revocations: their records, what they refuse, and whom they show out; and whose proof has expired."""

import pytest

from app.cli.revoke import held_from
from app.kafka import topics
from app.revocations import Revocation, encode_revocation, parse_revocation
from tests.unit.web.world import Record
from web.admissions import Admissions
from web.auth import Identity
from web.intake import Intake
from web.log_reader import Start
from web.revocations import Revocations

NOW = 1_800_000_000.0


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Guest:
    """A socket that notes what it is closed with."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def stop(self, code: int) -> None:
        self.codes.append(code)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inside(clock: Clock) -> Admissions:
    return Admissions(Revocations(), clock)


def admitted(inside: Admissions, identity: Identity) -> Guest:
    guest = Guest()
    inside.admit(guest, identity)
    return guest


def test_a_record_is_json_and_gives_back_what_was_written_rounded_up() -> None:
    value = encode_revocation(NOW + 0.1234)
    assert value == b'{"revoked_at":"2027-01-15T08:00:00.124Z"}'
    assert parse_revocation("Zoë/🦊".encode(), value) == Revocation("Zoë/🦊", NOW + 0.124)
    assert parse_revocation(b"alice", None) == Revocation("alice", None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, encode_revocation(NOW)),
        (b"", encode_revocation(NOW)),
        (b"\xff", encode_revocation(NOW)),
        (b" alice", encode_revocation(NOW)),
        (b"alice", b""),
        (b"alice", b"{}"),
        (b"alice", b'{"revoked_at":5}'),
        (b"alice", b'{"revoked_at":"yesterday"}'),
        (b"alice", b'{"revoked_at":"2027-01-15"}'),
    ],
)
def test_a_record_that_tells_no_revocation_is_none(key: bytes | None, value: bytes) -> None:
    assert parse_revocation(key, value) is None


def test_the_latest_instant_holds_until_it_is_taken_back() -> None:
    known = Revocations()
    known.learn([Revocation("alice", NOW), Revocation("alice", NOW - 100)])
    assert known.refuses("alice", NOW)
    assert not known.refuses("alice", NOW + 0.001)
    assert known.refuses("alice", None)
    assert not known.refuses("bob", None)
    known.learn([Revocation("alice", None)])
    assert not known.refuses("alice", None)


def test_whose_proof_has_expired_is_shown_out_by_the_wall_clock_even_when_it_is_set(
    inside: Admissions, clock: Clock
) -> None:
    soon, late, never = (admitted(inside, Identity("alice", NOW + s)) for s in (10, 3600, float("inf")))
    clock.now = NOW + 9.99
    inside.sweep()
    assert soon.codes == []
    clock.now = NOW + 10
    inside.sweep()
    assert (soon.codes, late.codes) == ([4401], [])
    clock.now = NOW + 3600  # nobody waited for it
    inside.sweep()
    assert (late.codes, never.codes) == ([4401], [])


@pytest.mark.parametrize(("fresh", "ends_at"), [(100, 100), (5, 5)])
def test_a_fresh_proof_takes_the_place_of_the_one_before_it(
    inside: Admissions, clock: Clock, fresh: int, ends_at: int
) -> None:
    guest = admitted(inside, Identity("alice", NOW + 10))
    inside.admit(guest, Identity("alice", NOW + fresh))
    clock.now = NOW + ends_at - 0.01
    inside.sweep()
    assert guest.codes == []
    clock.now = NOW + ends_at
    inside.sweep()
    assert guest.codes == [4401]


def test_who_has_gone_is_forgotten(inside: Admissions, clock: Clock) -> None:
    guest = admitted(inside, Identity("alice", NOW + 10))
    inside.leave(guest)
    inside.leave(guest)
    clock.now = NOW + 11
    inside.sweep()
    inside.revoke([Revocation("alice", NOW + 11)])
    assert (guest.codes, len(inside)) == ([], 0)


def test_a_revocation_closes_the_sockets_of_that_user_and_of_nobody_else(inside: Admissions) -> None:
    token, silent, name, bob = (
        admitted(inside, Identity(user, issued_at=issued_at))
        for user, issued_at in (("alice", NOW - 5), ("alice", None), ("alice", NOW), ("bob", NOW - 5))
    )
    inside.revoke([Revocation("alice", NOW + 1)])
    assert [token.codes, silent.codes, name.codes, bob.codes] == [[4510], [4510], [4510], []]


def test_a_socket_that_was_opened_before_the_revocation_closes_whatever_its_token_says(
    inside: Admissions, clock: Clock
) -> None:
    fast_issuer = admitted(inside, Identity("alice", issued_at=NOW + 3))
    clock.now = NOW + 2
    inside.revoke([Revocation("alice", NOW + 1)])
    assert fast_issuer.codes == [4510]


def test_a_socket_that_was_opened_with_a_newer_token_stays_when_the_revocation_is_read_late(
    inside: Admissions, clock: Clock
) -> None:
    clock.now = NOW + 3
    newer = admitted(inside, Identity("alice", issued_at=NOW + 2))
    inside.revoke([Revocation("alice", NOW + 1)])
    assert newer.codes == []


def test_a_proof_that_was_revoked_while_its_socket_was_opened_is_seen(inside: Admissions) -> None:
    inside.revoke([Revocation("alice", NOW)])
    assert admitted(inside, Identity("alice", issued_at=NOW - 5)).codes == [4510]
    assert admitted(inside, Identity("alice", issued_at=NOW + 1)).codes == []


def test_the_intake_tells_what_the_topic_held_before_it_began_and_what_is_added() -> None:
    told: list[list[Revocation]] = []
    intake = Intake(hub=NoHub(), commander=NoCommander(), owners=NoOwners(), on_revocations=told.append)  # type: ignore[arg-type]
    intake.begin(Start(revocations=[Revocation("alice", NOW)]))
    assert intake.begun
    intake.take(
        [
            Record(topics.REVOCATIONS, 0, 0, b"bob", encode_revocation(NOW)),
            Record(topics.REVOCATIONS, 0, 1, b"bob", b"not json"),
            Record(topics.REVOCATIONS, 1, 0, b"carol", None),
        ]
    )
    intake.take([])
    assert told == [[Revocation("alice", NOW)], [Revocation("bob", NOW), Revocation("carol", None)]]


class NoHub:
    """Nobody follows anything."""

    def flush(self) -> None: ...


class NoCommander:
    """Nobody asked anything."""

    origin = "gateway"


class NoOwners:
    """Nobody owns anything."""


@pytest.mark.parametrize("revoked_at", [100.0, 100.0004, 100.5, 100.9989, 100.9995, 100.9999999])
def test_the_command_ends_when_tokens_of_that_second_hold_again(revoked_at: float) -> None:
    told = parse_revocation(b"ann", encode_revocation(revoked_at))
    assert told is not None
    assert told.until_s is not None
    second = held_from(revoked_at)
    assert second - 1 <= told.until_s < second
