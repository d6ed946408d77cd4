"""One partition's life: open → serve → close. Serving decides each command once and answers when it is on disk."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from agents.context import Context
from agents.event_log import EventLog
from agents.in_flight import InFlight
from agents.opening import Opened, Opening
from app.domain import instants
from app.domain.commands import AnyCommand, Send, decode_command, split_array
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.kafka import topics
from app.kafka.partition import partition_for
from app.kafka.producer import Headers
from app.log.records import CommandPlace, event_headers
from app.reads import Outcome, OwnerRecord, encode_outcome, encode_owner
from app.telemetry import logger
from tables import rows
from tables.partition_tables import PartitionTables
from tables.store import Store

log = logger("partition")

IN_FLIGHT = 4_000  # commands under way before the agent waits; 16 partitions stay under the producer's queue
FLUSH_ROWS = 1_000
OWNER_RECORDS = 10_000  # an owner record this often: how far back a gateway must begin to read
CLOSE_S = 5.0

UNKNOWN = Rejection("timeout", "the outcome is unknown; retry with the same client_msg_id", temporary=True)


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A record of the commands topic. `at_ms` is the broker's instant: the `now` of its commands (design I8)."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class ClosedError(Exception):
    """The partition is not open here (any more)."""


class Partition:
    """A partition that this worker owns. `open` first; `handle` its records in order; `close` when it is revoked."""

    def __init__(self, context: Context, number: int, groups: Store, history: Store) -> None:
        self.number = number
        self.tables = PartitionTables(groups, history)
        self.in_flight = InFlight()
        self.serving = False
        self._context = context
        self._failed = False
        self._held: deque[tuple[int, Callable[[], None]]] = deque()
        self._owner_offset = 0
        self._dirty = asyncio.Event()
        self._flush_now = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    async def open(self, wall_ms: int, still_ours: Callable[[], bool]) -> None:
        """Claim, load, fold, then serve. `still_ours` is asked before the state is installed.

        Raises:
            ClosedError: another rebalance took the partition while it opened.
            Exception: as `Opening.run`.
        """
        opened = await Opening(self._context, self.number, self.tables, wall_ms).run()
        if not still_ours():
            raise ClosedError(f"partition {self.number} was taken away while it opened")
        self._install(opened)
        self._publish_owner()
        self.serving = True
        self._flusher = asyncio.create_task(self._flush_regularly())
        self._dirty.set()
        log.info("partition open", partition=self.number, epoch=opened.epoch, decided=opened.decided.offset)

    def _install(self, opened: Opened) -> None:
        c = self._context
        self.log = EventLog(c.events, c.bootstrap, self.number, opened.epoch, self.fail)
        self.epoch = opened.epoch
        self._decided = opened.decided
        self._skip_through = opened.decided
        self._with_event = opened.with_event
        self._write_behind = opened.write_behind

    async def close(self) -> None:
        """Settle what is under way, write it, and stop; whatever does not come in time is healed by the next owner."""
        if not self.serving:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.in_flight.settled()
                await self._flush()
        except TimeoutError:
            log.warning("closed before all was written", partition=self.number, under_way=len(self.in_flight))
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)
        self.serving = False
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        self._abandon(ClosedError(f"partition {self.number} is closed"))

    def fail(self, why: Exception) -> None:
        """Stop at once, write nothing more, and leave the process: opening again reads the truth from the log."""
        if self._failed:
            return
        self._failed = True
        self.serving = False
        self._abandon(ClosedError(f"partition {self.number} failed"))
        log.error("partition failed", partition=self.number, why=repr(why))
        self._context.leave(why)

    def _abandon(self, why: Exception) -> None:
        self.in_flight.abandon(why)
        if self.log is not None:
            self.log.abandon(why)

    # Serving

    async def handle(self, record: CommandRecord, done: Callable[[], None]) -> None:
        """Decide the commands of a record; `done` when each one's event or reply is on disk.

        Raises:
            ClosedError: the partition is not open; the record will be read again by its next owner.
        """
        while self.serving and len(self.in_flight) >= IN_FLIGHT:
            await self.in_flight.settled()
        if not self.serving:
            raise ClosedError(f"partition {self.number} is not open")
        if record.value is None:
            self._dead_letter(record, None, "no value", self._settling(done))
            return
        try:
            elements = split_array(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
            self._dead_letter(record, record.value, f"not decodable: {bad}", self._settling(done))
            return
        left = len(elements)

        def one_done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done()

        if not elements:
            done()
        for index, raw in enumerate(elements):
            self._handle_one(record, CommandPlace(record.offset, index), raw, one_done)

    def _handle_one(
        self, record: CommandRecord, place: CommandPlace, raw: bytes | msgspec.Raw, done: Callable[[], None]
    ) -> None:
        settled = self._settling(done)
        try:
            command = decode_command(raw)
            if partition_for(command.group.encode(), self._context.layout.partitions) != self.number:
                raise ValueError(f"the group belongs to another partition than {self.number}")
        except (msgspec.MsgspecError, UnicodeError, ValueError) as bad:
            self._decided = max(self._decided, place)
            self._dead_letter(record, bytes(raw), f"not decodable: {bad}", settled)
            return
        if place <= self._decided:
            self._skip(command, place, settled)
            return
        self._decided = place
        try:
            outcome = self._decide(command, record, place)
        except Exception as bug:
            # A bug must not stop the partition: the command is put aside, its outcome is unknown (design §4).
            log.exception("a command raised", partition=self.number, offset=place.offset, index=place.index)
            self._dead_letter(record, bytes(raw), f"raised {bug!r}", settled)
            self._reply(command, UNKNOWN, lambda: None)
            return
        if isinstance(outcome, Event):
            self._append(command, outcome, place, settled)
        else:
            self._reply(command, outcome, settled)

    def _decide(
        self, command: AnyCommand, record: CommandRecord, place: CommandPlace
    ) -> Event | Rejection | Duplicate | Unchanged:
        group = self.tables.group(command.group)
        target = None
        if isinstance(command, Send) and command.reply_to is not None:
            target = self.tables.target(group, command.reply_to)
        # Made from the record's place, so that every owner gives it the same id.
        event_id = f"{self._context.layout.commands_topic_id}.{self.number}.{place.offset}.{place.index}"
        return decide(group, command, now_ms=record.at_ms, event_id=event_id, target=target)

    def _append(self, command: AnyCommand, event: Event, place: CommandPlace, settled: Callable[[], None]) -> None:
        value = encode_event(event)
        headers = event_headers(
            event,
            epoch=self.epoch,
            command_id=command.id,
            topic_id=self._context.layout.commands_topic_id,
            place=place,
        )

        def delivered() -> None:
            settled()
            self._release()

        try:
            self.log.append(event.group.encode(), value, headers, delivered)
            self.tables.apply(event, value)
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)  # the state and the log may differ now: only reading the log again tells
            return
        self._dirty.set()
        if self.tables.unwritten() >= FLUSH_ROWS:
            self._flush_now.set()

    def _skip(self, command: AnyCommand, place: CommandPlace, settled: Callable[[], None]) -> None:
        """A command that is decided already. One of an owner before that has no event was refused, or that owner died
        before saying so.
        """
        if place > self._skip_through or place in self._with_event:
            # Faust read it again. Its offset may be committed only when the first reading's event is on disk.
            self._when_delivered(settled)
        else:
            self._reply(command, UNKNOWN, settled)

    def _reply(
        self, command: AnyCommand, outcome: Rejection | Duplicate | Unchanged, settled: Callable[[], None]
    ) -> None:
        """Answer without an event, but only when all that the answer was decided from is on disk (design I3)."""

        def send() -> None:
            if not command.origin:
                settled()
                return
            key = command.origin.encode()
            self._produce(
                topics.REPLIES,
                partition_for(key, self._context.layout.partitions),
                key,
                encode_outcome(_outcome(command.id, outcome)),
                [],
                settled,
            )

        self._when_delivered(send)

    def _when_delivered(self, then: Callable[[], None]) -> None:
        """Call `then` when all that was appended until now is on disk, in order."""
        if self.log.delivered == self.log.appended:
            then()
        else:
            self._held.append((self.log.appended, then))

    def _release(self) -> None:
        while self._held and self._held[0][0] <= self.log.delivered:
            self._held.popleft()[1]()

    def _dead_letter(
        self, record: CommandRecord, value: bytes | None, reason: str, settled: Callable[[], None]
    ) -> None:
        log.warning("dead letter", partition=self.number, offset=record.offset, reason=reason)
        headers = [
            *record.headers,
            ("reason", reason.encode("utf-8", "replace")),
            ("topic", topics.COMMANDS.encode()),
            ("partition", b"%d" % self.number),
            ("offset", b"%d" % record.offset),
        ]
        self._produce(topics.DEAD_LETTERS, self.number, record.key, value, headers, settled)

    def _produce(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        settled: Callable[[], None],
    ) -> None:
        def report(offset: int | None, error: object | None) -> None:
            del offset
            if error is not None:
                self.fail(RuntimeError(f"{topic}: {error}"))
            else:
                settled()

        try:
            self._context.events.produce(topic, partition, key=key, value=value, headers=headers, report=report)
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)

    def _settling(self, done: Callable[[], None]) -> Callable[[], None]:
        """A command is under way; what to call when its event or reply is on disk."""
        ticket = self.in_flight.begin()

        def settled() -> None:
            if not self._failed:
                self.in_flight.end(ticket)
                done()

        return settled

    # Writing behind

    async def _flush_regularly(self) -> None:
        interval_s = self._context.settings.flush_interval_ms / 1000
        try:
            while True:
                await self._dirty.wait()
                try:
                    await asyncio.wait_for(self._flush_now.wait(), interval_s)
                except TimeoutError:
                    pass
                self._dirty.clear()
                self._flush_now.clear()
                await self._flush()
        except ClosedError:
            pass  # closed or failed while it waited; who did that has said so
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)

    async def _flush(self) -> None:
        """One flush: a snapshot now, written when all that it covers is delivered."""
        async with self._flushing:
            if not self.tables.unwritten():
                return
            snapshot = self.tables.snapshot(self.epoch)
            decided, event_offset = self._decided, self.log.offset_after_all()
            await self.in_flight.settled()
            position = rows.Position(
                event_offset=await event_offset,
                epoch=self.epoch,
                command_topic_id=self._context.layout.commands_topic_id,
                command_offset=decided.offset,
                command_index=decided.index,
            )
            await self._write_behind.flush(snapshot, position)
            if self.log.next_offset - self._owner_offset >= OWNER_RECORDS:
                self._publish_owner()

    def _publish_owner(self) -> None:
        self._owner_offset = self.log.next_offset
        owner = OwnerRecord(
            url=self._context.url,
            epoch=self.epoch,
            offset=self._owner_offset,
            worker=self._context.settings.worker,
            log=self._context.layout.log_id,
        )
        key = b"%d" % self.number
        self._produce(
            topics.OWNERS,
            partition_for(key, self._context.layout.partitions),
            key,
            encode_owner(owner),
            [("content-type", b"application/json")],
            lambda: None,
        )


def _outcome(command_id: str, outcome: Rejection | Duplicate | Unchanged) -> Outcome:
    match outcome:
        case Rejection():
            return Outcome(command=command_id, refusal=outcome)
        case Duplicate(seq, at_ms):
            return Outcome(command=command_id, duplicate=True, seq=seq, at=instants.to_text(at_ms))
        case Unchanged():
            return Outcome(command=command_id, unchanged=True)
