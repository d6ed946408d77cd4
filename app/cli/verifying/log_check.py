"""One partition of the log, record by record, under the fencing rules: what each must be, given those before it.

Memory is that of the fold: the groups with their members and the keys in their window. Doubled ids need none: an
event's id names its command's place, and places rise.
"""

from collections.abc import Sequence

import msgspec

from app.cli.verifying.findings import Report
from app.domain import idempotency, instants
from app.domain.events import Event, UnknownKindError, decode_event
from app.domain.evolve import evolve
from app.domain.state import Group
from app.kafka.partition import partition_for
from app.log.fence import Fence
from app.log.records import NOWHERE, ClaimRecord, CommandPlace, EventRecord, RecordError, decode_record

RawHeaders = Sequence[tuple[str, bytes | None]]
AckKey = tuple[str, int, str, str]  # group, seq, user, client_msg_id

# An `at` is an instant, and a text that JSON can hold.
UNREADABLE = (UnknownKindError, msgspec.MsgspecError, ValueError)


class LogCheck:
    """Takes in the records of one partition in their order, from offset `report.first` on.

    `epoch` is the claim in force there, -1 at the log's beginning. `acks` are the acknowledgements of this partition:
    those left at the end are not in the log.
    """

    def __init__(
        self, report: Report, *, partitions: int, log_id: str, epoch: int = -1, acks: set[AckKey] | None = None
    ) -> None:
        self.report = report
        self.first_epoch = epoch
        self.fence = Fence(epoch)
        self.groups: dict[str, Group] = {}
        self.headless: set[str] = set()  # groups whose current life began before the log that is kept
        self.broken: set[str] = set()  # groups whose fold means nothing any more, after a finding
        self.acks = acks or set()
        self._partitions = partitions
        self._log_id = log_id
        self._claims = {epoch}
        self._decided: dict[str, CommandPlace] = {}

    def take(self, offset: int, key: bytes | None, value: bytes | None, headers: RawHeaders | None) -> None:
        """The next record."""
        self.report.records += 1
        try:
            record = decode_record(offset=offset, key=key, value=value, headers=headers)
        except RecordError as bad:
            self.report.find("undecodable", str(bad), offset=offset)
            return
        admitted = self.fence.admits(record)
        if isinstance(record, ClaimRecord):
            self._claim(record, key)
            return
        if not admitted:
            self.report.voided[self.fence.epoch] += 1
            return
        self.report.events += 1
        if record.epoch not in self._claims:
            self._unclaimed(record)
        try:
            event = decode_event(record.value)
            at_ms = instants.to_ms(event.at)
        except UNREADABLE as bad:
            what = f"an event of the kind {record.kind!r} that does not decode: {bad!r}"
            self.report.find("undecodable", what, offset=offset, group=record.group, seq=record.seq)
            self.broken.add(record.group)
            return
        self._place(record, event, key or b"", headers or ())
        self._order(record)
        if self._seq(record, event):
            self._fold(record, event, at_ms)

    def _find(self, kind: str, what: str, record: EventRecord) -> None:
        self.report.find(kind, what, offset=record.offset, group=record.group, seq=record.seq)  # type: ignore[arg-type]

    def _claim(self, record: ClaimRecord, key: bytes | None) -> None:
        self.report.claims += 1
        self._claims.add(record.offset)
        if record.claim.log != self._log_id:
            what = f"a claim by {record.claim.worker!r} for the log {record.claim.log}, this one is {self._log_id}"
            self.report.find("foreign-claim", what, offset=record.offset)
        if key is not None:
            self.report.find("contradiction", "a claim has no key, this one has", offset=record.offset)

    def _unclaimed(self, record: EventRecord) -> None:
        """An epoch is a claim's offset; of claims before the log that is kept nothing is known."""
        self._claims.add(record.epoch)  # said once
        if record.epoch >= self.report.first or record.epoch < 0:
            self._find("no-claim", f"its epoch is {record.epoch}, where there is no claim before it", record)

    def _place(self, record: EventRecord, event: Event, key: bytes, headers: RawHeaders) -> None:
        """Header, key and value say the same, and the record stands where it belongs."""
        if record.seq != event.seq or record.group != event.group or record.kind != event.kind:
            said = f"{record.group!r}/{record.seq}/{record.kind}"
            is_ = f"{event.group!r}/{event.seq}/{event.kind}"
            self._find("contradiction", f"key and headers say {said}, the value {is_}", record)
        if ("ce_id", event.id.encode()) not in headers:
            told = dict(headers).get("ce_id")
            self._find("contradiction", f"the header ce_id says {told!r}, the value {event.id!r}", record)
        where = partition_for(key, self._partitions)
        if where != self.report.partition:
            self._find("misplaced", f"its key belongs to partition {where}", record)

    def _order(self, record: EventRecord) -> None:
        """Commands are decided in their order, each once."""
        place, topic = record.place, record.command_topic_id
        if place <= self._decided.get(topic, NOWHERE):
            last = self._decided[topic]
            what = (
                f"its command at {place.offset}.{place.index} ({record.command_id!r}) is not behind the last one "
                f"decided, {last.offset}.{last.index}"
            )
            self._find("decided-twice", what, record)
            return
        self._decided[topic] = place

    def _seq(self, record: EventRecord, event: Event) -> bool:
        """Whether the event is to be folded; its id and its seq are the next ones."""
        place = record.place
        if event.id != f"{record.command_topic_id}.{self.report.partition}.{place.offset}.{place.index}":
            self._find("contradiction", f"the id {event.id!r} does not name its command's place", record)
        state = self.groups.get(event.group)
        if state is None:
            state = self.groups[event.group] = Group(event.group)
            if self.report.first > 0 and event.seq > 1:
                state.seq = event.seq - 1
                self.headless.add(event.group)
        if event.seq == state.seq + 1:
            return True
        self.broken.add(event.group)
        if event.seq <= state.seq:
            self._find("doubled", f"the group was at seq {state.seq} already", record)
            return False
        self._find("gap", f"the group was at seq {state.seq}: {event.seq - state.seq - 1} missing", record)
        state.seq = event.seq - 1
        return True

    def _fold(self, record: EventRecord, event: Event, at_ms: int) -> None:
        state = self.groups[event.group]
        if at_ms < state.at_ms:
            self._find("back", f"at {event.at}, the event before it was at {instants.to_text(state.at_ms)}", record)
        if event.kind == "group.created":
            self.headless.discard(event.group)
        if event.client_msg_id is not None:
            sent = state.sent.get((event.by or "", event.client_msg_id))
            # A creation that is repeated after its group was deleted begins a life (protocol §9).
            again = event.kind == "group.created" and state.life == "deleted"
            if sent is not None and not again and not idempotency.expired(sent, state.seq, at_ms):
                what = f"client_msg_id {event.client_msg_id!r} of {event.by!r} was accepted as seq {sent.seq} before"
                self._find("accepted-twice", what, record)
            if self.acks:
                self.acks.discard((event.group, event.seq, event.by or "", event.client_msg_id))
        evolve(state, event, record.request)
        state.touched.clear()

    def finish(self) -> None:
        """The log is at its end: what of the acknowledgements is not in it."""
        self.report.groups = len(self.groups)
        if self.headless:
            what = "groups whose life began before the log that is kept: their fold"
            self.report.unproven[what] += len(self.headless)
        for group, seq, user, client_msg_id in sorted(self.acks):
            state = self.groups.get(group)
            if self.report.first > 0 and (state is None or group in self.headless):
                self.report.unproven["acknowledgements of groups whose beginning is not kept"] += 1
                continue
            what = f"acknowledged to {user!r} with client_msg_id {client_msg_id!r}, and not in the log"
            self.report.find("ack", what, group=group, seq=seq)
