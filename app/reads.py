"""What gateways ask of a group's owner, and what owners say: the messages between the two.

An owner answers from delivered events only, and says how far they reach: `offset` is the next event offset of the
partition, `epoch` the owner's claim (design I9). Who joins the live run reads on from exactly that pair. `end` in a
read is the partition's end offset, taken by the gateway after the client's request came: only an answer that covers
it may be used, so that what was acknowledged anywhere is seen.

Reads travel as a JSON array to `POST {owner url}/reads` (one call serves many clients), answers come back as an
array in the same order. The HTTP status is 200 whatever the answers are.
"""

import re
from typing import Literal

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role
from app.domain.outcomes import Rejection

READS_PATH = "/reads"
PAGE_EVENTS = 500
# Answers stay far under a frame's 1 MiB and a page is cut before it: a frame has at most about 110 KiB.
PAGE_BYTES = 256 * 1024
STATE_MEMBERS = 1000
PAGE_MEMBERS = 1000
# Of one group: what a gateway starts its view from. Beyond it the view is a part (docs/adr/025).
ONLINE_NAMES = 10_000


class Read(msgspec.Struct, frozen=True, kw_only=True, tag_field="read"):
    """What every read carries: `user` is who asks; only members are told anything.

    None is an outside authority: it is told all of the current life, and whoever asks in its name answers for it.
    """

    group: str
    user: str | None
    end: int


class ReadSubscription(Read, frozen=True, tag="subscription"):
    """Where a subscription begins (protocol §4), the state if wanted, and the first page of events.

    `online`: all who are online are wanted beside it.
    """

    after: int | None = None
    last: int | None = None
    log: str | None = None
    state: bool = True
    online: bool = False


class ReadEvents(Read, frozen=True, tag="events"):
    """A page of the events with `after` < seq ≤ `through`, as the frames that this user may see."""

    after: int
    through: int


class ReadMessages(Read, frozen=True, tag="messages"):
    """A page of history items (protocol §9), the newest if neither bound is given. Bounds are exclusive."""

    before: int | None = None
    after: int | None = None
    limit: int = 50


class ReadState(Read, frozen=True, tag="state"):
    """The group's state now, or as it was at the event `at_seq` of this life."""

    at_seq: int | None = None


class ReadMembers(Read, frozen=True, tag="members"):
    """A page of up to `limit` (at most `PAGE_MEMBERS`) members in the order of joining, from `cursor` on."""

    limit: int = PAGE_MEMBERS
    cursor: str | None = None


class ReadPresence(Read, frozen=True, tag="presence"):
    """Those who are online now, at most `limit`."""

    limit: int


class ReadAudience(Read, frozen=True, tag="audience"):
    """Who misses a message of this group now (docs/adr/029): asked by bridges, with `end` 0."""


AnyRead = ReadSubscription | ReadEvents | ReadMessages | ReadState | ReadMembers | ReadPresence | ReadAudience


class MemberView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member as clients see it; without `read` in a state of an earlier seq."""

    user: str
    role: Role
    read: int | msgspec.UnsetType = msgspec.UNSET


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """A group's state as clients see it (protocol §4); members in the order of joining, cut at `STATE_MEMBERS`.

    `online` are the members who are online, cut at `app.presence.NAMES`. At an earlier seq there is none: what is
    absent stays absent for who reads this and passes it on.
    """

    name: str
    topic: str
    join: JoinRule
    history: HistoryRule
    first: int
    seq: int
    members: list[MemberView]
    members_more: bool | msgspec.UnsetType = msgspec.UNSET
    online: list[str] | msgspec.UnsetType = msgspec.UNSET
    online_more: bool | msgspec.UnsetType = msgspec.UNSET


class Audience(msgspec.Struct, frozen=True):
    """A group as a message finds it: its name, how many members, and the first of those offline, at most two.

    Two tell whether somebody other than any one sender is offline.
    """

    name: str
    members: int
    offline: list[str]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An owner's answer to one read.

    `missing`: `not_owner` (ask the owner of now), `loading` (later), `behind` (the answer does not cover `end`).
    `refusal`: what the client is told. Otherwise `epoch`, `offset` and `seq` say what the answer covers, and the
    fields of the read's kind follow. `frames` are whole frames as JSON, in order, events byte for byte as in the
    log; `through` is the last seq that they cover, so the next page is asked with `after=through`.
    """

    missing: Literal["not_owner", "loading", "behind"] | None = None
    refusal: Rejection | None = None
    epoch: int = -1
    offset: int = -1
    seq: int = 0
    state: StateView | None = None
    start: int = 0  # the seq of the first event that a subscription replays (`from`)
    recovered: bool = True
    frames: list[msgspec.Raw] = []
    through: int = 0
    messages: list[msgspec.Raw] = []
    more: bool = False
    oldest: int = 0  # with messages: the least seq that is served at all, of this life and not pruned
    members: list[MemberView] = []
    cursor: str | None = None  # where the next page of members begins; None behind the last
    online: list[str] | None = None  # the members who are online, cut at `ONLINE_NAMES`, as of `announced`
    audience: Audience | None = None
    announced: int = 0  # how many changes of presence the owner had announced in this partition


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record of `chat.group.replies.v1` (key: the gateway that waits): a command's outcome without an event.

    Exactly one of: `refusal`; `seq` and `at` with `duplicate` (accepted before as that event); `unchanged`.
    """

    command: str
    refusal: Rejection | None = None
    duplicate: bool = False
    seq: int | None = None
    at: str | None = None
    unchanged: bool = False


class OwnerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record of `chat.partition.owners.v1` (key: the partition's number): who owns it and where a reader may start.

    A reader that begins at event offset `offset` begins with `epoch` as the highest claim seen.
    """

    url: str
    epoch: int
    offset: int
    worker: str
    log: str


_cursor = re.compile(r"([0-9]{1,16})\.([0-9]{1,16})")


def cursor_at(joined: int, place: int) -> str:
    """The cursor behind the member who joined by the event `joined` at that place: it outlives the membership."""
    return f"{joined}.{place}"


def place_of(cursor: str) -> tuple[int, int] | None:
    """Where `cursor` points, None if no answer gave it."""
    given = _cursor.fullmatch(cursor)
    return None if given is None else (int(given[1]), int(given[2]))


_reads: msgspec.json.Decoder[list[AnyRead]] = msgspec.json.Decoder(list[AnyRead])
_answers: msgspec.json.Decoder[list[Answer]] = msgspec.json.Decoder(list[Answer])
_outcome: msgspec.json.Decoder[Outcome] = msgspec.json.Decoder(Outcome)
_owner: msgspec.json.Decoder[OwnerRecord] = msgspec.json.Decoder(OwnerRecord)
_encoder = msgspec.json.Encoder()


def encode_reads(reads: list[AnyRead]) -> bytes:
    """The body of a request to an owner."""
    return _encoder.encode(reads)


def decode_reads(body: bytes) -> list[AnyRead]:
    """The reads of a request; raises msgspec's errors for what is none."""
    return _reads.decode(body)


def encode_answers(answers: list[Answer]) -> bytes:
    """The body of an owner's response."""
    return _encoder.encode(answers)


def decode_answers(body: bytes) -> list[Answer]:
    """The answers of a response; raises msgspec's errors for what is none."""
    return _answers.decode(body)


def encode_outcome(outcome: Outcome) -> bytes:
    """The value of a reply record."""
    return _encoder.encode(outcome)


def decode_outcome(value: bytes) -> Outcome:
    """A reply record; raises msgspec's errors for what is none."""
    return _outcome.decode(value)


def encode_owner(owner: OwnerRecord) -> bytes:
    """The value of an owner record."""
    return _encoder.encode(owner)


def decode_owner(value: bytes) -> OwnerRecord:
    """An owner record; raises msgspec's errors for what is none."""
    return _owner.decode(value)
