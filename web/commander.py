"""Commands on their way: several in one record, each waiting for the outcome that the log tells (design §5, I3)."""

import asyncio
import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException

from app.domain.commands import Command, encode_command
from app.domain.outcomes import Rejection, Unchanged
from app.kafka import topics
from app.kafka.partition import partition_for
from app.kafka.producer import QueueFullError, Report
from app.reads import Outcome
from app.telemetry import logger
from web import metrics

GATHER_S = 0.001
RECORD_BYTES = 256 * 1024
# Records of a partition that librdkafka may hold at a time. What waits here beyond them can still be taken back, which
# librdkafka's own queue does not allow with certainty: it does not tell whether a record was ever sent. With five
# under way it would use up a core for a sixth that waits (docs/adr/023).
UNDER_WAY = 4
PENDING = 20_000
WAITING_BYTES = 64 * 1024 * 1024
SWEEP_S = 0.1
WARN_EVERY_S = 1.0

TIMEOUT = Rejection("timeout", "the outcome is unknown; repeat with the same client_msg_id", temporary=True)
UNAVAILABLE = Rejection("unavailable", "the command could not be handed to the broker", temporary=True)
# A report's errors after which the producer produces nothing more.
_ENDS = {KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE}  # noqa: SLF001 - their public names

_log = logger("web")


@dataclass(slots=True, frozen=True)
class Accepted:
    """The command is the event `seq` of its group, written at `at`; before, if `duplicate`."""

    seq: int
    at: str | None
    duplicate: bool = False


Result = Accepted | Unchanged | Rejection
OnResult = Callable[[Result], None]


class RecordProducer(Protocol):
    """What a commander needs of a producer; `app.kafka.producer.Producer` is one."""

    def produce(self, topic: str, partition: int, *, key: bytes, value: bytes, report: Report) -> None:
        """Queue a record; raises QueueFullError or KafkaException if it was certainly not queued."""


@dataclass(slots=True)
class _Pending:
    key: bytes
    since: float
    on_result: OnResult
    sent: bool = False  # handed over: from then on it may be in the log


@dataclass(slots=True)
class _Way:
    """The way to one partition: commands (id, key, encoded) that wait for their record, and records under way."""

    waiting: deque[tuple[str, bytes, bytes]] = field(default_factory=deque)
    waiting_bytes: int = 0
    under_way: int = 0
    at_most: int = UNDER_WAY  # under way; a broker that took nothing gets one record at a time until it has taken it
    gathering: bool = False


class Commander:
    """Sends commands and tells each one's outcome once, within its deadline.

    An outcome comes from a reader of the log (`on_event`, `on_outcome`) or from the clock. `unavailable` is said
    only of a command that was certainly not appended: one that was never handed to the producer, and will not be.
    """

    def __init__(
        self, producer: RecordProducer, *, origin: str, partitions: int, on_fatal: Callable[[Exception], None]
    ) -> None:
        """`on_fatal` is told when the producer can produce nothing more."""
        self.origin = origin
        self._on_fatal = on_fatal
        self._warned_at = -WARN_EVERY_S
        self._producer = producer
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._ways: dict[int, _Way] = {}
        self._waiting_bytes = 0
        self._pending: dict[str, _Pending] = {}
        self._groups: Counter[bytes] = Counter()
        self._deadlines: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """Commands that wait for an outcome."""
        return len(self._pending)

    def next_id(self) -> str:
        """An id for a command, never given before by any gateway."""
        return f"{self.origin}-{next(self._numbers)}"

    def awaits_group(self, key: bytes) -> bool:
        """Whether a command of the group with this key waits: other records need not be looked into."""
        return key in self._groups

    def awaits(self, command_id: str) -> bool:
        """Whether this command waits for an outcome."""
        return command_id in self._pending

    def submit(self, command: Command, *, deadline: float, on_result: OnResult) -> None:
        """Send `command`; `on_result` is called once, by `deadline` (the loop's time) at the latest, maybe at once."""
        if len(self._pending) >= PENDING or self._waiting_bytes >= WAITING_BYTES:
            on_result(UNAVAILABLE)
            return
        key = command.group.encode()
        self._pending[command.id] = _Pending(key, self._loop.time(), on_result)
        self._groups[key] += 1
        heapq.heappush(self._deadlines, (deadline, command.id))
        self._gather(partition_for(key, self._partitions), command.id, key, encode_command(command))

    def on_event(self, command_id: str, seq: int, at: str) -> None:
        """A valid event of this command was read in the log."""
        self._settle(command_id, Accepted(seq, at))

    def on_outcome(self, outcome: Outcome) -> None:
        """The owner's word on a command that became no event."""
        if outcome.refusal is not None:
            self._settle(outcome.command, outcome.refusal)
        elif outcome.unchanged:
            self._settle(outcome.command, Unchanged())
        elif outcome.seq is not None:
            self._settle(outcome.command, Accepted(outcome.seq, outcome.at, duplicate=outcome.duplicate))

    async def run(self) -> None:
        """Time out what is overdue, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(self._loop.time())

    def sweep(self, now: float) -> None:
        """Tell every command whose deadline is before `now`: `timeout` if it may be in the log, else `unavailable`."""
        while self._deadlines and self._deadlines[0][0] <= now:
            command_id = heapq.heappop(self._deadlines)[1]
            pending = self._pending.get(command_id)
            if pending is not None:
                self._settle(command_id, TIMEOUT if pending.sent else UNAVAILABLE)
        if len(self._deadlines) > 2 * PENDING:  # most are settled, and wait for their deadline only
            self._deadlines = [each for each in self._deadlines if each[1] in self._pending]
            heapq.heapify(self._deadlines)
        for way in self._ways.values():
            self._drop_settled(way)
        metrics.PENDING.set(len(self._pending))

    def _gather(self, partition: int, command_id: str, key: bytes, encoded: bytes) -> None:
        way = self._ways.setdefault(partition, _Way())
        way.waiting.append((command_id, key, encoded))
        way.waiting_bytes += len(encoded)
        self._waiting_bytes += len(encoded)
        self._send(partition, way, least_bytes=RECORD_BYTES)
        if not way.gathering:
            way.gathering = True
            self._loop.call_later(GATHER_S, self._gathered, partition, way)

    def _gathered(self, partition: int, way: _Way) -> None:
        way.gathering = False
        self._send(partition, way)

    def _send(self, partition: int, way: _Way, least_bytes: int = 0) -> None:
        """Hand over what waits, as many records as may be under way; the rest goes when one of them has arrived.

        `least_bytes`: only while more than so much waits.
        """
        while way.under_way < way.at_most and way.waiting_bytes > least_bytes:
            commands = self._next_record(way)
            if not commands:
                return
            self._produce(partition, way, commands)

    def _next_record(self, way: _Way) -> list[tuple[str, bytes, bytes]]:
        """Take the commands of the next record, at least one if any waits; those told `unavailable` are left out."""
        commands: list[tuple[str, bytes, bytes]] = []
        size = 2
        self._drop_settled(way)
        while way.waiting and (not commands or size + len(way.waiting[0][2]) <= RECORD_BYTES):
            command = self._take(way)
            commands.append(command)
            size += len(command[2]) + 1
            self._drop_settled(way)
        return commands

    def _drop_settled(self, way: _Way) -> None:
        while way.waiting and way.waiting[0][0] not in self._pending:
            self._take(way)

    def _take(self, way: _Way) -> tuple[str, bytes, bytes]:
        command = way.waiting.popleft()
        way.waiting_bytes -= len(command[2])
        self._waiting_bytes -= len(command[2])
        return command

    def _produce(self, partition: int, way: _Way, commands: list[tuple[str, bytes, bytes]]) -> None:
        ids = [command_id for command_id, _, _ in commands]
        encoded = [command for _, _, command in commands]
        value = encoded[0] if len(encoded) == 1 else b"[" + b",".join(encoded) + b"]"

        def report(_offset: int | None, error: KafkaError | None) -> None:
            way.under_way -= 1
            way.at_most = UNDER_WAY if error is None else 1
            # No error: who reads the log will tell. An error: the record may have been appended all the same.
            if error is not None:
                self._not_delivered(ids, error)
            if not way.gathering:  # else they leave together in a moment
                self._send(partition, way)

        try:
            self._producer.produce(topics.COMMANDS, partition, key=commands[0][1], value=value, report=report)
        except (QueueFullError, KafkaException) as refused:
            self._not_queued(ids, refused)
            return
        metrics.COMMAND_RECORDS.inc()
        way.under_way += 1
        for command_id in ids:
            if (pending := self._pending.get(command_id)) is not None:
                pending.sent = True

    def _not_delivered(self, ids: list[str], error: KafkaError) -> None:
        self._warn("commands not delivered", error.str())
        for command_id in ids:
            self._settle(command_id, TIMEOUT)
        if error.fatal() or error.code() in _ENDS:
            self._on_fatal(KafkaException(error))

    def _not_queued(self, ids: list[str], refused: QueueFullError | KafkaException) -> None:
        self._warn("commands not queued", str(refused))
        for command_id in ids:
            self._settle(command_id, UNAVAILABLE)
        if isinstance(refused, KafkaException) and refused.args[0].fatal():
            self._on_fatal(refused)

    def _warn(self, what: str, error: str) -> None:
        """Log at most once a second: there may be a thousand of these while a broker is away."""
        now = self._loop.time()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            _log.warning(what, error=error)

    def _settle(self, command_id: str, result: Result) -> None:
        pending = self._pending.pop(command_id, None)
        if pending is None:
            return  # its outcome was told before
        self._groups[pending.key] -= 1
        if not self._groups[pending.key]:
            del self._groups[pending.key]
        metrics.ACK_SECONDS.observe(self._loop.time() - pending.since)
        pending.on_result(result)
