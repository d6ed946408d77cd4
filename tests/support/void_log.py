"""A log in which owners that were replaced go on writing: the same seqs twice, claims in between (design I4)."""

import random
from dataclasses import dataclass
from typing import Any

from app.domain.events import Event, MessagePosted, encode_event
from app.domain.instants import to_text
from app.log.fence import Fence
from app.log.records import Claim, CommandPlace, EventRecord, Headers, claim_headers, decode_record, encode_claim
from app.log.records import event_headers as headers_of

Row = tuple[str, int, str, str]


@dataclass(frozen=True)
class Record:
    """A record of one partition; its offset is its place in the list."""

    partition_number: int
    place: int
    record_key: bytes | None
    record_value: bytes
    record_headers: Headers

    def partition(self) -> int:
        return self.partition_number

    def offset(self) -> int:
        return self.place

    def key(self) -> bytes | None:
        return self.record_key

    def value(self) -> bytes:
        return self.record_value

    def headers(self) -> Headers:
        return self.record_headers


class PartitionLog:
    """One partition as its owners, and those that were, write it: claims and events, from offset 0 on."""

    def __init__(self, partition: int, log_id: str) -> None:
        self.records: list[Record] = []
        self._partition = partition
        self._log_id = log_id

    def claim(self) -> int:
        """A new owner's claim; its epoch."""
        epoch = len(self.records)
        claim = Claim(log=self._log_id, worker=f"w{epoch}", at=to_text(epoch))
        self._add(None, encode_claim(claim), claim_headers())
        return epoch

    def event(self, group: str, seq: int, epoch: int, text: str, kind: str = "message.posted") -> None:
        """An event of the owner whose epoch this is."""
        offset = len(self.records)
        event = Event(
            group=group,
            seq=seq,
            id=f"e{offset}",
            kind=kind,
            by="anna",
            at=to_text(offset),
            data=MessagePosted(text=text),
        )
        place = CommandPlace(offset, 0)
        headers = headers_of(event, epoch=epoch, command_id="c", topic_id="t", place=place)
        self._add(group.encode(), encode_event(event), [*headers, ("traceparent", b"00-1-2-01")])

    def _add(self, key: bytes | None, value: bytes, headers: Headers) -> None:
        self.records.append(Record(self._partition, len(self.records), key, value, headers))


def by_hand(log_id: str) -> PartitionLog:
    """Partition 0: claims at 0, 3, 9 and 10, void records right behind three of them."""
    log = PartitionLog(0, log_id)
    a = log.claim()
    log.event("g1", 1, a, "first")
    log.event("g1", 2, a, 'zwei: é 🎉 \t\n"\\')
    b = log.claim()
    log.event("g1", 3, a, "void")
    log.event("g1", 3, b, "counts")
    log.event("g1", 4, a, "void")
    log.event("g1", 4, b, "counts")
    log.event("g2", 1, b, "another group")
    c = log.claim()
    d = log.claim()
    log.event("g1", 5, c, "void: claimed, and replaced at once")
    log.event("g1", 5, a, "void: long dead")
    log.event("g1", 5, d, "counts")
    log.event("g1", 6, d, "of a later version", kind="message.pinned")
    return log


def by_chance(log_id: str, records: int, seed: int) -> PartitionLog:
    """Partition 1: `records` of them, one in twenty a claim, one in five void. Who believes them finds no gap."""
    chance, log = random.Random(seed), PartitionLog(1, log_id)
    epochs = [log.claim()]
    seqs = dict.fromkeys((f"r{n}" for n in range(5)), 0)
    while len(log.records) < records:
        group, what = chance.choice(list(seqs)), chance.random()
        if what < 0.05:
            epochs.append(log.claim())
        elif what < 0.25 and len(epochs) > 1:
            log.event(group, seqs[group] + chance.choice((1, 1, 0)), chance.choice(epochs[:-1]), "void")
        else:
            seqs[group] += 1
            log.event(group, seqs[group], epochs[-1], f"counts {len(log.records)}")
    return log


def fold(records: list[Record]) -> list[Row]:
    """The events that count, in order, by the service's own fence: (group, seq, kind, value)."""
    fences: dict[int, Fence] = {}
    rows = []
    for each in records:
        record: Any = decode_record(offset=each.place, key=each.key(), value=each.value(), headers=each.headers())
        if fences.setdefault(each.partition_number, Fence()).admits(record) and isinstance(record, EventRecord):
            rows.append((record.group, record.seq, record.kind, record.value.decode()))
    return rows
