"""A bridge in a process of its own, and the user service that it listens to."""

import itertools
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridges import avro
from bridges.inbound.declaring import EXCHANGE
from tests.support.ports import free_ports
from tests.support.rabbit import Rabbit
from tests.support.raw_amqp import ACCEPTED, RawPublisher, message_type, properties, table
from tests.support.stack import Command, clean_environment
from tests.support.waiting import eventually

READY_S = 120  # its pauses grow to half a minute while RabbitMQ or Kafka is away
_ANSWER_S = 60


class Bridge:
    """One bridge slot: it can be started again and again under the same name."""

    def __init__(
        self, data: Path, kafka: str, rabbit: Rabbit, name: str = "bridge-0", settings: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.port = free_ports(1)
        self._data = data
        self._env = clean_environment(
            KAFKA_BOOTSTRAP=kafka, DATA=str(data), **{**rabbit.settings, "AUERBACH_BRIDGE": name, **(settings or {})}
        )
        self._starts = itertools.count()
        self._command: Command | None = None

    def start(self) -> None:
        """Start it; it may not serve yet when this returns."""
        self._data.mkdir(parents=True, exist_ok=True)
        output = self._data / f"{self.name}.{next(self._starts)}.out"
        self._command = Command(output, self._env, "bridge", "--port", str(self.port))
        self._command.wait_for('"bridge runs"')

    def start_ready(self) -> None:
        """Start it and wait until it serves or stands by."""
        self.start()
        self.wait_ready()

    def wait_ready(self, within_s: float = READY_S) -> None:
        eventually(lambda: not self.waiting_for(), within_s=within_s, what=f"{self.name} is ready")

    def wait_red(self, text: str, within_s: float) -> None:
        """Wait until it is not ready for a reason with `text` in it."""
        eventually(lambda: text in str(self.waiting_for()), within_s=within_s, what=f"{self.name} waits for {text!r}")

    def waiting_for(self) -> list[str]:
        """What its readiness says that it waits for."""
        return list(self.health()["waiting_for"])

    def health(self) -> dict[str, Any]:
        """The answer of `/readyz`."""
        return dict(json.loads(self.get("/readyz")))

    def metric(self, line: str) -> float:
        """The value of a metric, named as Prometheus' text has it."""
        for each in self.get("/metrics").splitlines():
            if each.startswith(line + " "):
                return float(each.rpartition(" ")[2])
        return 0.0

    def get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_ANSWER_S) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as status:
            return status.read().decode()

    def printed(self) -> str:
        """What this life of it has printed."""
        assert self._command is not None
        return self._command.printed()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log with this event."""
        whole, _, _ = self.printed().rpartition("\n")  # the last line may be half written
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it; after SIGKILL it is gone when this returns."""
        assert self._command is not None
        self._command.process.send_signal(number)
        if number == signal.SIGKILL:
            self._command.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._command.stop(signal.SIGTERM) if self._command is not None else 0


class UserService:
    """The publisher of §8: it sets the header `message_type`, and nothing else."""

    def __init__(self, rabbit: Rabbit, queue: str | None = None) -> None:
        """`queue`: publish to it alone, not to the exchange."""
        self._raw = RawPublisher(rabbit.port)
        self._exchange = EXCHANGE if queue is None else ""
        self._routing_key = b"" if queue is None else queue.encode()

    def created(self, group: str, user: str, **options: Any) -> None:
        self.publish("GROUP_CREATED", body("GroupCreatedEvent", group, createdBy=user), **options)

    def added(self, group: str, user: str, **options: Any) -> None:
        self.publish("MEMBER_ADDED", body("AddedMemberToGroupEvent", group, addedMember=user), **options)

    def removed(self, group: str, user: str, **options: Any) -> None:
        self.publish("MEMBER_REMOVED", body("RemovedMemberToGroupEvent", group, removedMember=user), **options)

    def deleted(self, group: str, **options: Any) -> None:
        self.publish("GROUP_DELETED", body("GroupDeletedEvent", group), **options)

    def publish(self, kind: str, body: bytes, *, persistent: bool = False, message_id: bytes | None = None) -> None:
        """Publish, and wait until RabbitMQ has it."""
        headers = table(message_type(kind))
        self.publish_raw(body, properties(headers, persistent=persistent, message_id=message_id))

    def publish_raw(self, body: bytes, props: tuple[int, bytes], routing_key: bytes | None = None) -> None:
        """Publish with whatever properties; fails where RabbitMQ refuses it."""
        key = self._routing_key if routing_key is None else routing_key
        answer = self._raw.publish(body, None, exchange=self._exchange, routing_key=key, properties=props)
        assert answer == ACCEPTED, "RabbitMQ closed the connection"

    def close(self) -> None:
        self._raw.close()


def body(record: str, group: str, **users: str) -> bytes:
    """An event's body; `users` by the name of the field."""
    fields: dict[str, Any] = {"groupId": {"value": group}}
    for field, user in users.items():
        fields[field] = {"id": {"username": user}, "name": "Ada", "surname": "Lovelace", "email": "ada@example.org"}
    return avro.encode(record, fields)
