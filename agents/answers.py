"""What an owner says besides events: refusals and repetitions to gateways, dead letters, and that it is the owner."""

from collections.abc import Callable

from agents.commands import CommandRecord
from agents.context import Context
from agents.event_log import EventLog
from app.domain import instants
from app.domain.commands import AnyCommand
from app.domain.outcomes import Duplicate, Rejection, Unchanged
from app.kafka import topics
from app.kafka.partition import partition_for
from app.kafka.producer import Headers
from app.reads import Outcome, OwnerRecord, encode_outcome, encode_owner
from app.telemetry import logger

log = logger("partition")


class Answers:
    """The records of one partition's owner in other topics. `failed` is told when one of them is not taken."""

    def __init__(self, context: Context, number: int, event_log: EventLog, failed: Callable[[Exception], None]) -> None:
        self._context = context
        self._number = number
        self._log = event_log
        self._failed = failed

    def reply(
        self, command: AnyCommand, outcome: Rejection | Duplicate | Unchanged, settled: Callable[[], None]
    ) -> None:
        """Answer without an event, but only when all that the answer was decided from is on disk (design I3)."""

        def send() -> None:
            if command.origin:
                self._produce_keyed(
                    topics.REPLIES, command.origin, encode_outcome(_outcome(command.id, outcome)), settled
                )
            else:
                settled()

        self._log.when_delivered(send)

    def dead_letter(self, record: CommandRecord, value: bytes | None, reason: str, settled: Callable[[], None]) -> None:
        """Put a command aside with its headers, and say where it stood and why."""
        log.warning("dead letter", partition=self._number, offset=record.offset, reason=reason)
        headers = [
            *record.headers,
            ("reason", reason.encode("utf-8", "replace")),
            ("topic", topics.COMMANDS.encode()),
            ("partition", b"%d" % self._number),
            ("offset", b"%d" % record.offset),
        ]
        self._produce(topics.DEAD_LETTERS, self._number, record.key, value, headers, settled)

    def claim_ownership(self) -> int:
        """Tell gateways who owns the partition and from where they may read; the offset that was told."""
        c, offset = self._context, self._log.next_offset
        owner = OwnerRecord(
            url=c.url, epoch=self._log.epoch, offset=offset, worker=c.settings.worker, log=c.layout.log_id
        )
        self._produce_keyed(topics.OWNERS, str(self._number), encode_owner(owner), lambda: None)
        return offset

    def _produce_keyed(self, topic: str, key: str, value: bytes, settled: Callable[[], None]) -> None:
        raw = key.encode()
        partition = partition_for(raw, self._context.layout.partitions)
        self._produce(topic, partition, raw, value, [("content-type", b"application/json")], settled)

    def _produce(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        settled: Callable[[], None],
    ) -> None:
        def report(_offset: int | None, error: object | None) -> None:
            if error is not None:
                self._failed(RuntimeError(f"{topic}: {error}"))
            else:
                settled()

        try:
            self._context.events.produce(topic, partition, key=key, value=value, headers=headers, report=report)
        except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
            self._failed(why)


def _outcome(command_id: str, outcome: Rejection | Duplicate | Unchanged) -> Outcome:
    match outcome:
        case Rejection():
            return Outcome(command=command_id, refusal=outcome)
        case Duplicate(seq, at_ms):
            return Outcome(command=command_id, duplicate=True, seq=seq, at=instants.to_text(at_ms))
        case Unchanged():
            return Outcome(command=command_id, unchanged=True)
