"""Commands on their way: several in one record, each waiting for the outcome that the log tells (design §5, I3)."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
PENDING = 20_000
SWEEP_S = 0.1
WARN_EVERY_S = 1.0

TIMEOUT = Rejection("timeout", "the outcome is unknown; repeat with the same client_msg_id", temporary=True)
UNAVAILABLE = Rejection("unavailable", "the command could not be handed to the broker", temporary=True)

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


@dataclass(slots=True)
class _Gathered:
    """Commands of one partition that leave together."""

    key: bytes
    ids: list[str]
    encoded: list[bytes]
    size: int


class Commander:
    """Sends commands and tells each one's outcome once, within its deadline.

    An outcome comes from a reader of the log (`on_event`, `on_outcome`) or from the clock. `unavailable` is said
    only of a command that was certainly not appended.
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
        self._gathered: dict[int, _Gathered] = {}
        self._pending: dict[str, _Pending] = {}
        self._groups: Counter[bytes] = Counter()
        self._idle = asyncio.Event()
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
        if len(self._pending) >= PENDING:
            on_result(UNAVAILABLE)
            return
        key = command.group.encode()
        self._pending[command.id] = _Pending(key, self._loop.time(), on_result)
        self._groups[key] += 1
        heapq.heappush(self._deadlines, (deadline, command.id))
        self._gather(partition_for(key, self._partitions), key, command.id, encode_command(command))

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

    async def settled(self, timeout_s: float) -> None:
        """Wait until no command waits for an outcome, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._pending:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass

    def sweep(self, now: float) -> None:
        """Say `timeout` of every command whose deadline is before `now`."""
        while self._deadlines and self._deadlines[0][0] <= now:
            self._settle(heapq.heappop(self._deadlines)[1], TIMEOUT)
        metrics.PENDING.set(len(self._pending))

    def _gather(self, partition: int, key: bytes, command_id: str, encoded: bytes) -> None:
        gathered = self._gathered.get(partition)
        if gathered is not None and gathered.size + len(encoded) + 1 > RECORD_BYTES:
            self._send(partition)
            gathered = None
        if gathered is None:
            self._gathered[partition] = _Gathered(key, [command_id], [encoded], len(encoded) + 2)
            self._loop.call_later(GATHER_S, self._send, partition)
        else:
            gathered.ids.append(command_id)
            gathered.encoded.append(encoded)
            gathered.size += len(encoded) + 1

    def _send(self, partition: int) -> None:
        gathered = self._gathered.pop(partition, None)
        if gathered is None:
            return
        one = len(gathered.encoded) == 1
        value = gathered.encoded[0] if one else b"[" + b",".join(gathered.encoded) + b"]"

        def report(_offset: int | None, error: KafkaError | None) -> None:
            # No error: who reads the log will tell. An error: the record may have been appended all the same.
            if error is not None:
                self._warn("commands not delivered", error.str())
                for command_id in gathered.ids:
                    self._settle(command_id, TIMEOUT)

        try:
            self._producer.produce(topics.COMMANDS, partition, key=gathered.key, value=value, report=report)
            metrics.COMMAND_RECORDS.inc()
        except (QueueFullError, KafkaException) as refused:
            self._warn("commands not queued", str(refused))
            for command_id in gathered.ids:
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
        if not self._pending:
            self._idle.set()
