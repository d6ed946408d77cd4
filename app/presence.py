"""Who is online: what gateways report to a group's owner, and what the owner announces (design §5, docs/adr/025).

Reports travel to `POST {owner url}/presence`, one body for all partitions of that owner; a word comes back for each, in
the same order. The HTTP status is 200 whatever the words are. What is announced goes to `chat.group.signals.v1`: its
value is the signal that clients get (protocol §5), and `again` beside it when there is one.
"""

from typing import Any, Literal

import msgspec

PRESENCE_PATH = "/presence"
# Of one body; an owner's HTTP server takes 1 MiB. Ids have up to 128 bytes, which JSON may double.
BODY_CHANGES = 1_000
HEARTBEAT_S = 3.0
LEASE_S = 10.0  # a gateway that is silent for so long loses its users: a crash shows within 15 s (protocol §5)
NAMES = 1_000  # in one announcement, one frame, and one reply
LARGE = 200  # above so many online, a group's members hear of presence at most once a second (protocol §5)
LATELY_S = 10.0  # a group that was large so lately still counts as one: a storm of reconnects starts with all gone

# `again`: the owner does not hold what the report builds on, and wants the whole; `not_owner`: another one is asked.
Word = Literal["ok", "again", "not_owner"]


class Change(msgspec.Struct, frozen=True, array_like=True):
    """Whether `user` is online in `group` at this gateway; `channel` names the legacy channel opened there last."""

    group: str
    user: str
    online: bool
    channel: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What changed at a gateway in one partition.

    `number` grows with each report, `since` is the number of the one before; 0 begins the whole state, whose parts end
    with `last`, and what was held before and is not in one of them is gone then. Without changes it is a sign of life.
    """

    partition: int
    since: int
    number: int
    last: bool = True
    changes: list[Change] = []


class Reports(msgspec.Struct, frozen=True):
    """The reports of the gateway process `gateway` to one owner."""

    gateway: str
    reports: list[Report]


class Announcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="signal"):
    """The net changes of a group; `again`: (user, legacy channel) of each that was opened, in their order."""

    group: str
    kind: Literal["presence"]
    joined: list[str]
    left: list[str]
    again: list[tuple[str, str]] = []


_encoder = msgspec.json.Encoder()
_reports: msgspec.json.Decoder[Reports] = msgspec.json.Decoder(Reports)
_words: msgspec.json.Decoder[list[Word]] = msgspec.json.Decoder(list[Word])
_announcement: msgspec.json.Decoder[Announcement] = msgspec.json.Decoder(Announcement)


def encode_reports(reports: Reports) -> bytes:
    """The body of a request to an owner."""
    return _encoder.encode(reports)


def decode_reports(body: bytes) -> Reports:
    """The reports of a request; raises msgspec's errors for what is none."""
    return _reports.decode(body)


def encode_words(words: list[Word]) -> bytes:
    """The body of an owner's response."""
    return _encoder.encode(words)


def decode_words(body: bytes) -> list[Word]:
    """An owner's words; raises msgspec's errors for what is none."""
    return _words.decode(body)


def encode_announcement(announcement: Announcement) -> bytes:
    """The value of a signals record."""
    return _encoder.encode(announcement)


def decode_announcement(value: bytes) -> Announcement:
    """A signals record of the kind `presence`; raises msgspec's errors for what is none."""
    return _announcement.decode(value)


def announcement_headers(epoch: int, number: int) -> list[tuple[str, bytes]]:
    """The owner's claim, and how many announcements of it came before in the partition."""
    return [("epoch", b"%d" % epoch), ("number", b"%d" % number), ("content-type", b"application/json")]


def place_of_announcement(headers: Any) -> tuple[int, int]:
    """The (epoch, number) of a signals record; raises ValueError if the headers tell none."""
    given = dict(headers or ())
    return int(given.get("epoch") or b""), int(given.get("number") or b"")
