"""What a processor tells its operators: the messages behind the pages of `web/inspect`, and the port that gives them.

A message's text is in none of them: operators see what happened, to whom and when, not what was said
(docs/adr/011-what-operators-see.md). Every list is a page; what is cut says so.
"""

from typing import Literal, Protocol

import msgspec

from app.domain.commands import HistoryRule, JoinRule, Role
from app.domain.outcomes import Rejection

PAGE_EVENTS = 50
PAGE_MEMBERS = 200
PAGE_FOUND = 100

State = Literal["open", "loading", "opening", "stopped"]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns a partition, as its latest owner record says: epochs and offsets are those of the events topic."""

    worker: str
    url: str
    epoch: int
    offset: int


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """The last flush: how long ago it ended, the rows that it wrote, and how long it took."""

    age_s: float
    rows: int
    took_s: float


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that this worker serves. `rows` are RocksDB's estimates of keys, by table.

    `decided_offset` and `decided_index` name the last command decided, -1 for none. `unwritten` counts groups and
    events that the next flush writes.
    """

    epoch: int
    next_event_offset: int
    decided_offset: int
    decided_index: int
    in_flight: int
    unwritten: int
    groups_in_memory: int
    rows: dict[str, int]
    last_flush: Flushed | None


class PartitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One partition, whoever owns it.

    `state` (with its `reason`) is told by the worker that has the partition, None elsewhere; `served` once it is open.
    Of the commands topic: `committed` is the first offset that a new owner would read again, `end` the next record's
    offset, `lag` the records between. None: the broker did not say. `oldest_unanswered_s` is the age of the oldest
    command without an answer, 0 without one; None where another worker knows it.
    """

    partition: int
    owner: Owner | None
    state: State | None
    reason: str | None
    committed: int | None
    end: int | None
    lag: int | None
    oldest_unanswered_s: float | None
    served: Served | None


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster as one worker sees it: its own partitions whole, the others' owners.

    `faults` say what could not be asked; what they are about is then None, or as it was last known.
    """

    worker: str
    url: str
    log: str
    commands_topic: str
    partitions: list[PartitionView]
    faults: list[str]


class Membership(msgspec.Struct, frozen=True):
    """A member: `joined` is the seq of the event that began the membership."""

    user: str
    role: Role
    joined: int


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event without its content: what happened, by whom, when, and about whom or which earlier event.

    `id` is `<commands topic id>.<partition>.<offset>.<index>` of the command that it came from. `command_id` and
    `offset` (in the events topic) are known for the newest records of the partition only.
    """

    seq: int
    kind: str
    by: str | None
    at: str
    id: str
    client_msg_id: str | None
    user: str | None
    target: int | None
    command_id: str | None = None
    offset: int | None = None


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group's state at `seq`: now, or as it was then if the query named an `at_seq`. `head` is the seq of now.

    `members` and `banned` are one page each, of `members_total` and `banned_total`; `next_members` is where the next
    page of members begins, None at the end. `keys` counts the idempotency keys that are kept now. `events` are the last
    ones up to `seq`, newest first, and reach back to an earlier life if need be; `earlier` is the `at_seq` that shows
    those before.
    """

    group: str
    partition: int
    worker: str
    epoch: int
    head: int
    seq: int
    first: int
    life: Literal["none", "alive", "deleted"]
    name: str
    topic: str
    join: JoinRule
    history: HistoryRule
    at: str | None
    members: list[Membership]
    members_total: int
    next_members: int | None
    banned: list[str]
    banned_total: int
    keys: int | None
    events: list[EventView]
    earlier: int | None


class GroupQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which group, at which seq (None: now), and the place of the first member to show."""

    group: str
    at_seq: int | None = None
    members: int = 0


class Found(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an id is.

    `group`: a group's id. `member`: a user's, who is a member of `group`. `event`: an event's or its command's.
    `command`: a command that became no event (`note` says what is known of it).
    """

    what: Literal["group", "member", "event", "command"]
    partition: int
    group: str
    role: Role | None = None
    joined: int | None = None
    event: EventView | None = None
    note: str | None = None


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """Where else the id may be known: another worker's address, and what it would know."""

    what: str
    worker: str
    url: str


class SearchView(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, what was looked through (`looked`, in words), and where else to look.

    `cursor` goes on behind what was looked through for a user's groups; None when that was all there is here.
    """

    id: str
    group: str | None
    found: list[Found]
    looked: list[str]
    leads: list[Lead]
    cursor: str | None


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Any id: of a group, a user, an event, a command; with `group`, a `client_msg_id` too."""

    id: str
    group: str | None = None
    cursor: str | None = None


class Elsewhere(msgspec.Struct, frozen=True):
    """Another worker owns what was asked for: its address, without a slash at the end."""

    url: str


class Inspector(Protocol):
    """What a worker can be asked. A refusal is a value: `invalid`, `no_such_group`, `unavailable` or `timeout`."""

    async def cluster(self) -> ClusterView:
        """The partitions and their owners."""
        ...

    async def group(self, query: GroupQuery) -> GroupView | Elsewhere | Rejection:
        """A group's state."""
        ...

    async def search(self, query: SearchQuery) -> SearchView | Elsewhere | Rejection:
        """What an id is."""
        ...

    def urls(self) -> set[str]:
        """The addresses of the owners known here, for a page that may be led there."""
        ...


_encoder = msgspec.json.Encoder()


def encode(view: ClusterView | GroupView | SearchView) -> bytes:
    """A view as JSON."""
    return _encoder.encode(view)
