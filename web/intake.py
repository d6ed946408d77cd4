"""What the records of the log mean to a gateway: outcomes for who asked, events for who follows."""

from collections import Counter
from collections.abc import Callable

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from app.kafka import topics
from app.log.fence import Fence
from app.log.records import ClaimRecord, EventRecord, RecordError, decode_record
from app.owners import Owners, parse_owner
from app.presence import Announcement, decode_announcement, place_of_announcement
from app.reads import decode_outcome
from app.revocations import Revocation, parse_revocation
from app.telemetry import logger
from web import metrics
from web.commander import Commander
from web.frames import text_frame
from web.hub import Hub
from web.live_events import LiveEvent, leaving_user
from web.log_reader import RawRecord, Start

_log = logger("web")

# (partition, (epoch, number), announcement) → whether it counts.
OnAnnouncement = Callable[[int, tuple[int, int], Announcement], bool]


class _Instant(msgspec.Struct, frozen=True):
    at: str


_instant_decoder = msgspec.json.Decoder(_Instant)


class Intake:
    """Takes batches from the log reader, on the loop. Void records are heard by nobody (design I4).

    `on_revocations` is told what the revocations topic holds, before reading begins, and what is added to it;
    `on_announcement` each announcement of presence in a group that is followed here.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        commander: Commander,
        owners: Owners,
        on_revocations: Callable[[list[Revocation]], None] = lambda _: None,
        on_announcement: OnAnnouncement = lambda _partition, _place, _announcement: True,
    ) -> None:
        self._hub = hub
        self._commander = commander
        self._owners = owners
        self._on_revocations = on_revocations
        self._on_announcement = on_announcement
        self._revocations: list[Revocation] = []
        self._origin = commander.origin.encode()
        self._fences: dict[int, Fence] = {}
        self._behind: dict[int, int] | None = None
        self._fates: Counter[tuple[str, str]] = Counter()

    @property
    def begun(self) -> bool:
        """Whether reading has begun: from then on no outcome of a new command is missed."""
        return self._behind is not None

    def epoch(self, partition: int) -> int:
        """The highest claim read in an events partition."""
        fence = self._fences.get(partition)
        return fence.epoch if fence is not None else -1

    def waits_for(self) -> list[str]:
        """What has to happen before the log is read as it grows; empty when it is."""
        if self._behind is None:
            return ["the consumer's assignment"]
        return [f"events partition {p} to be read up to {end}" for p, end in sorted(self._behind.items())]

    def begin(self, start: Start) -> None:
        """Reading begins at `start`."""
        self._on_revocations(start.revocations)
        for partition, owner in start.owners.items():
            self._owners.learn(partition, owner)
        self._fences = {p: Fence(epoch) for p, (_, epoch) in start.events.items()}
        self._behind = {p: end for p, end in start.ends.items() if start.events[p][0] < end}

    def take(self, records: list[RawRecord]) -> None:
        """The next records."""
        for record in records:
            topic = record.topic()
            if topic == topics.EVENTS:
                fate = self._event(record)
            elif topic == topics.REPLIES:
                fate = self._reply(record)
            elif topic == topics.SIGNALS:
                fate = self._signal(record)
            elif topic == topics.REVOCATIONS:
                fate = self._revocation(record)
            else:
                fate = self._owner(record)
            self._fates[topic, fate] += 1
        if self._revocations:
            told, self._revocations = self._revocations, []
            self._on_revocations(told)
        self._hub.flush()
        for (topic, fate), count in self._fates.items():
            metrics.LOG_RECORDS.labels(topic, fate).inc(count)
        self._fates.clear()

    def _event(self, record: RawRecord) -> str:
        partition, offset, key = record.partition(), record.offset(), record.key()
        if self._behind:
            self._read_through(partition, offset)
        # By the key, before anything else is decoded; a claim has none and is always looked at.
        if key is not None and not self._hub.follows(key) and not self._commander.awaits_group(key):
            return "dropped"
        try:
            decoded = decode_record(offset=offset, key=key, value=record.value(), headers=record.headers())
            if not self._fences[partition].admits(decoded):
                return "void"
            if isinstance(decoded, ClaimRecord):
                return "claim"
            assert key is not None
            self._deliver(key, decoded, _appended_at(record))
        except (RecordError, msgspec.MsgspecError) as bad:
            _log.error("a record of the events topic is neither event nor claim", partition=partition, why=str(bad))
            return "bad"
        return "delivered"

    def _deliver(self, key: bytes, event: EventRecord, appended_at: float | None) -> None:
        if self._commander.awaits(event.command_id):
            self._commander.on_event(event.command_id, event.seq, _instant_decoder.decode(event.value).at)
        if self._hub.follows(key):
            leaving = leaving_user(event.kind, event.value)
            self._hub.publish(key, LiveEvent(event.seq, text_frame(event.value), leaving, appended_at))

    def _read_through(self, partition: int, offset: int) -> None:
        assert self._behind is not None
        end = self._behind.get(partition)
        if end is not None and offset + 1 >= end:
            del self._behind[partition]

    def _reply(self, record: RawRecord) -> str:
        if record.key() != self._origin:
            return "dropped"
        try:
            self._commander.on_outcome(decode_outcome(record.value() or b""))
        except msgspec.MsgspecError as bad:
            _log.error("a record of the replies topic is no outcome", partition=record.partition(), why=str(bad))
            return "bad"
        return "delivered"

    def _signal(self, record: RawRecord) -> str:
        if not self._hub.follows(record.key() or b""):
            return "dropped"
        try:
            place = place_of_announcement(record.headers())
            announcement = decode_announcement(record.value() or b"")
        except (msgspec.MsgspecError, ValueError) as bad:
            _log.error("a record of the signals topic is no announcement", partition=record.partition(), why=str(bad))
            return "bad"
        return "delivered" if self._on_announcement(record.partition(), place, announcement) else "void"

    def _revocation(self, record: RawRecord) -> str:
        told = parse_revocation(record.key(), record.value())
        if told is None:
            _log.error("a record of the revocations topic tells none", partition=record.partition())
            return "bad"
        self._revocations.append(told)
        return "delivered"

    def _owner(self, record: RawRecord) -> str:
        named = parse_owner(record.key(), record.value())
        if named is None:
            return "bad"
        self._owners.learn(*named)
        return "delivered"


def _appended_at(record: RawRecord) -> float | None:
    kind, at_ms = record.timestamp()
    return at_ms / 1000 if kind != TIMESTAMP_NOT_AVAILABLE else None
