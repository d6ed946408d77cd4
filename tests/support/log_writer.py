"""Records of the events topic as owners write them, straight into Kafka: claims, events, what is void."""

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from app.domain.events import Event, MessagePosted, encode_event
from app.domain.instants import to_text
from app.kafka import topics
from app.log.records import Claim, CommandPlace, Headers, claim_headers, encode_claim, event_headers

AT_MS = 1_795_569_600_000


class LogWriter:
    """Writes to one partition of a log; `seqs` and `values` are what counts, by group."""

    def __init__(self, bootstrap: str, partition: int) -> None:
        found = topics.find_log_id(AdminClient({"bootstrap.servers": bootstrap}), 10)
        assert found is not None
        self.log_id = found
        self.partition = partition
        self.epoch = -1
        self.values: dict[str, list[bytes]] = {}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "queue.buffering.max.messages": 200_000}
        )
        self._offset = -1

    def claim(self, log_id: str | None = None) -> int:
        """A new owner; its epoch."""
        claim = Claim(log=log_id or self.log_id, worker="w", at=to_text(AT_MS))
        self._append(None, encode_claim(claim), claim_headers())
        self.flush()
        self.epoch = self._offset
        return self.epoch

    def post(self, group: str, text: str = "hello", *, at_ms: int = AT_MS, kind: str = "message.posted") -> bytes:
        """The next event of a group, soon (`flush`); its value."""
        values = self.values.setdefault(group, [])
        value = self._event(group, len(values) + 1, self.epoch, text, at_ms, kind)
        values.append(value)
        return value

    def void(self, group: str, epoch: int) -> bytes:
        """What an owner that was replaced writes as the group's next event; its value."""
        return self._event(group, len(self.values.get(group, ())) + 1, epoch, "void", AT_MS, "message.posted")

    def flush(self) -> None:
        """Wait until the broker holds all."""
        assert self._producer.flush(180) == 0

    def _event(self, group: str, seq: int, epoch: int, text: str, at_ms: int, kind: str) -> bytes:
        event = Event(
            group=group,
            seq=seq,
            id=f"commands.{self.partition}.{group}.{seq}.{epoch}",
            kind=kind,
            by="anna",
            at=to_text(at_ms),
            data=MessagePosted(text=text),
        )
        headers = event_headers(event, epoch=epoch, command_id="c", topic_id="t", place=CommandPlace(0, 0))
        value = encode_event(event)
        self._append(group.encode(), value, headers)
        return value

    def _append(self, key: bytes | None, value: bytes, headers: Headers) -> None:
        while True:
            try:
                self._producer.produce(
                    topics.EVENTS, value, key, self.partition, headers=headers, on_delivery=self._on_delivery
                )
                return
            except BufferError:
                self._producer.poll(0.05)

    def _on_delivery(self, error: object, message: object) -> None:
        assert error is None, error
        self._offset = message.offset()  # type: ignore[attr-defined]
