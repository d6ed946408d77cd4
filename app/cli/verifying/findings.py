"""What was found: each fault with its place, bounded, and what could not be compared."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

FINDINGS_KEPT = 200  # of each kind and partition: a log that is wrong throughout must not fill the memory

Kind = Literal[
    "gap",  # a seq that is missing
    "doubled",  # a seq that was there
    "decided-twice",  # a command's place that is not behind those decided; so is a doubled event id
    "accepted-twice",  # a `client_msg_id` that became a second event within its window
    "back",  # `at` before that of the group's last event
    "undecodable",  # neither event nor claim, or an event whose kind or bytes do not decode
    "contradiction",  # headers, key and value that say different things
    "misplaced",  # a record in another partition than its key's
    "foreign-claim",  # a claim for another log
    "no-claim",  # an epoch that no claim made
    "groups",  # rows of the table `groups` that are not the fold
    "history",  # rows of the table `history` that are not the log's
    "owner",  # an owner whose answer is not the fold, or who does not answer
    "ack",  # an acknowledgement that the log does not keep
]


@dataclass(slots=True, frozen=True)
class Finding:
    """One fault. `offset` is the record's in the events topic, -1 where it is about no record; `seq` likewise."""

    kind: Kind
    partition: int
    what: str
    offset: int = -1
    group: str | None = None
    seq: int = -1

    def __str__(self) -> str:
        place = [f"partition {self.partition}"]
        if self.offset >= 0:
            place.append(f"offset {self.offset}")
        if self.group is not None:
            place.append(f"group {self.group!r}")
        if self.seq >= 0:
            place.append(f"seq {self.seq}")
        return f"{self.kind}: {', '.join(place)}: {self.what}"


@dataclass(slots=True)
class Report:
    """What one partition gave. `first` ≤ offset < `end` was read; `voided` counts void records by the claim in force.

    `counts` has all findings by kind, `findings` the first of them; `unproven` what was not compared, in words, with
    how often.
    """

    partition: int
    first: int = 0
    end: int = 0
    records: int = 0
    events: int = 0
    claims: int = 0
    groups: int = 0
    acks: int = 0
    tables_compared: int = 0
    history_rows_compared: int = 0
    owners_compared: int = 0
    voided: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unproven: Counter[str] = field(default_factory=Counter)
    log_cpu_s: float = 0.0

    def find(self, kind: Kind, what: str, *, offset: int = -1, group: str | None = None, seq: int = -1) -> None:
        """Take in a fault."""
        self.counts[kind] += 1
        if self.counts[kind] <= FINDINGS_KEPT:
            self.findings.append(Finding(kind, self.partition, what, offset, group, seq))
