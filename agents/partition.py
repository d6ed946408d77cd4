"""One partition's life: open → serve → close. Serving decides each command once and answers when it is on disk."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from agents.answers import Answers
from agents.commands import CommandRecord
from agents.context import Context
from agents.event_log import EventLog
from agents.flusher import ClosedError, Flusher, LastFlush
from agents.in_flight import InFlight, InOrder
from agents.lane import Lane
from agents.late_history import LateHistory
from agents.opening import Opened
from agents.presence import PartitionPresence
from app.domain.commands import AnyCommand, decode_command, message_of, reaction_of, split_array
from app.domain.decide import Outcome, decide
from app.domain.events import Event, encode_event
from app.domain.idempotency import digest_of_command
from app.domain.outcomes import Rejection
from app.kafka.partition import partition_for
from app.log.records import CommandPlace, event_headers
from app.telemetry import logger
from tables.partition_tables import PartitionTables
from tables.store import StoreError

log = logger("partition")

# Commands under way before the next ones wait: those of all partitions stay under the producer's queue of 100,000.
IN_FLIGHT = 64_000
OWNER_RECORDS = 10_000  # an owner record this often: how far back a gateway must begin to read
CLOSE_S = 5.0
HELD_EVENTS = 20_000  # events that wait for the history before commands do

UNKNOWN = Rejection("timeout", "the outcome is unknown; retry with the same client_msg_id", temporary=True)


class Partition:
    """A partition that this worker owns, open from its making on.

    `submit` its records in order; `close` it when it is revoked. What cannot go on (`fail`) leaves the process.
    """

    def __init__(self, context: Context, number: int, tables: PartitionTables, opened: Opened) -> None:
        self.number = number
        self.tables = tables
        self.in_flight = InFlight()
        self.presence = PartitionPresence(time.monotonic())
        self.log = EventLog(context.events, context.bootstrap, number, opened.epoch, self.fail)
        self.serving = True
        self._context = context
        self._in_flight_most = max(1, IN_FLIGHT // context.layout.partitions)
        self._acknowledgements = InOrder()
        self._decided = opened.decided
        self._skip_through = opened.decided
        self._with_event = opened.with_event
        self._next_command = opened.next_command
        self._answers = Answers(context, number, self.log, self.fail)
        self._flusher = Flusher(
            context.settings,
            context.layout.commands_topic_id,
            tables,
            self.log,
            self.in_flight,
            opened.write_behind,
            decided=lambda: self._decided,
            flushed=self._flushed,
            failed=self.fail,
        )
        self._flusher.start()
        self._lane = Lane(self.handle, self.fail)
        self.history = LateHistory(opened.loading, loaded=self._on_loaded, faulty=self._on_faulty, failed=self.fail)
        self._owner_offset = self._answers.claim_ownership()
        log.info("partition open", partition=number, epoch=opened.epoch, decided=opened.decided.offset)

    @property
    def epoch(self) -> int:
        """The claim under which it serves."""
        return self.log.epoch

    @property
    def decided(self) -> CommandPlace:
        """The place of the last command decided."""
        return self._decided

    @property
    def next_command(self) -> int:
        """The offset of the record that is due: what comes behind it is read again."""
        return self._next_command

    @property
    def idle(self) -> bool:
        """Whether it serves, and waits for records."""
        return self.serving and self._lane.idle

    @property
    def full(self) -> bool:
        """Whether whoever brings a record waits."""
        return self._lane.full

    def skip_to(self, offset: int) -> None:
        """Go on behind records that are not in the log any more."""
        self._next_command = max(self._next_command, offset)

    @property
    def last_flush(self) -> LastFlush | None:
        """The last flush that was written."""
        return self._flusher.last

    async def close(self) -> None:
        """Settle what is under way, write it, and stop; whatever does not come in time is healed by the next owner."""
        if not self.serving:
            return
        self.history.stop()
        await self._lane.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.in_flight.settled()
                await self._flusher.flush()
        except TimeoutError:
            log.warning("closed before all was written", partition=self.number, under_way=len(self.in_flight))
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)
        self.serving = False
        await self._flusher.stop()
        await self.history.end()
        self._abandon(ClosedError(f"partition {self.number} is closed"))

    def fail(self, why: Exception) -> None:
        """Stop at once, write nothing more, and leave the process: opening again reads the truth from the log."""
        if not self.serving:
            return  # closed: what it left behind is void or on disk, and not its business any more
        self.serving = False
        self._lane.abandon()
        self.history.abandon()
        self._abandon(ClosedError(f"partition {self.number} failed"))
        log.error("partition failed", partition=self.number, why=repr(why))
        self._context.leave(why)

    async def submit(self, record: CommandRecord, done: Callable[[], None]) -> None:
        """Have a record handled behind those before it; raises ClosedError as `handle`."""
        await self._lane.put(record, done)

    async def handle(self, record: CommandRecord, done: Callable[[], None]) -> None:
        """Decide the commands of a record; `done` when each one's event or reply is on disk, in the order of records.

        Raises:
            ClosedError: the partition is not open; the record will be read again by its next owner.
        """
        while self.serving and len(self.in_flight) >= self._in_flight_most:
            await self.in_flight.settled()
        if not self.serving:
            raise ClosedError(f"partition {self.number} is not open")
        if record.offset > self._next_command:
            # Faust has passed over some, and may have committed behind them (docs/adr/014).
            self._context.rewind(self.number, self._next_command)
            return
        self._next_command = max(self._next_command, record.offset + 1)
        done = self._acknowledgements.begin(done)
        if record.value is None:
            self._answers.dead_letter(record, None, "no value", self._settling(done))
            return
        try:
            elements = split_array(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as bad:
            self._answers.dead_letter(record, record.value, f"not decodable: {bad}", self._settling(done))
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
            await self._handle_one(record, CommandPlace(record.offset, index), raw, one_done)
        self._send()

    async def _handle_one(
        self, record: CommandRecord, place: CommandPlace, raw: bytes | msgspec.Raw, done: Callable[[], None]
    ) -> None:
        try:
            command = decode_command(raw)
            if partition_for(command.group.encode(), self._context.layout.partitions) != self.number:
                raise ValueError(f"the group belongs to another partition than {self.number}")
        except (msgspec.MsgspecError, UnicodeError, ValueError) as bad:
            self._decided = max(self._decided, place)
            self._answers.dead_letter(record, bytes(raw), f"not decodable: {bad}", self._settling(done))
            return
        if place <= self._decided:
            self._skip(command, place, self._settling(done))
            return
        if self.tables.held is not None or self.tables.needs_load(command.group):
            await self._prepare(command)
        if not self.serving:
            raise ClosedError(f"partition {self.number} is not open")
        settled = self._settling(done)
        self._decided = place
        try:
            outcome = self._decide(command, record, place)
        except StoreError as damaged:
            self.fail(damaged)  # no command's fault, and the next one would meet it, too
            return
        except Exception as bug:
            # A bug must not stop the partition: the command is put aside, its outcome is unknown (design §4).
            log.exception("a command raised", partition=self.number, offset=place.offset, index=place.index)
            self._answers.dead_letter(record, bytes(raw), f"raised {bug!r}", settled)
            self._answers.reply(command, UNKNOWN, lambda: None)
            return
        if isinstance(outcome, Event):
            self._append(command, outcome, place, settled)
        else:
            self._answers.reply(command, outcome, settled)

    async def _prepare(self, command: AnyCommand) -> None:
        """Wait until what the decision needs is in memory; deliveries, reads and other partitions go on meanwhile."""
        self._send()  # what was decided before this must not wait, too
        if message_of(command) is not None or (self.tables.held or 0) >= HELD_EVENTS:
            await self.history.whole()
        if self.serving:
            await self.tables.load(command.group)

    def _on_loaded(self) -> None:
        log.info("history loaded", partition=self.number)
        self._flusher.write_positions()

    def _on_faulty(self, fault: Exception) -> None:
        if self.serving:
            self._context.stop(self.number, fault)

    def _decide(self, command: AnyCommand, record: CommandRecord, place: CommandPlace) -> Outcome:
        group = self.tables.group(command.group)
        seq = message_of(command)
        target = None if seq is None else self.tables.target(group, seq, reaction_of(command))
        # Made from the record's place, so that every owner gives it the same id.
        event_id = f"{self._context.layout.commands_topic_id}.{self.number}.{place.offset}.{place.index}"
        return decide(group, command, now_ms=record.at_ms, event_id=event_id, target=target)

    def _append(self, command: AnyCommand, event: Event, place: CommandPlace, settled: Callable[[], None]) -> None:
        value = encode_event(event)
        request = digest_of_command(command) if command.client_msg_id is not None else ""
        headers = event_headers(
            event,
            epoch=self.log.epoch,
            command_id=command.id,
            topic_id=self._context.layout.commands_topic_id,
            place=place,
            request=request,
        )
        try:
            self.log.append(event.group.encode(), value, headers, settled)
            self.tables.apply(event, value, request)
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)  # the state and the log may differ now: only reading the log again tells

    def _send(self) -> None:
        """Hand the events decided until now to the broker."""
        try:
            self.log.send()
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self.fail(why)
        else:
            self._flusher.changed()

    def _skip(self, command: AnyCommand, place: CommandPlace, settled: Callable[[], None]) -> None:
        """A command that is decided already.

        One of an owner before that has no event was refused, or that owner died before saying so.
        """
        if place > self._skip_through or place in self._with_event:
            # Faust read it again. Its offset may be committed only when the first reading's event is on disk.
            self.log.when_delivered(settled)
        else:
            self._answers.reply(command, UNKNOWN, settled)

    def _settling(self, done: Callable[[], None]) -> Callable[[], None]:
        """A command is under way; what to call when its event or reply is on disk."""
        ticket = self.in_flight.begin()

        def settled() -> None:
            if self.serving:
                self.in_flight.end(ticket)
                done()

        return settled

    def _flushed(self) -> None:
        if self.log.next_offset - self._owner_offset >= OWNER_RECORDS:
            self._owner_offset = self._answers.claim_ownership()

    def _abandon(self, why: ClosedError) -> None:
        self.in_flight.abandon(why)
        self.log.abandon(why)
