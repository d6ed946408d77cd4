"""One delivery after the other: what it means is written, and what means nothing is put aside."""

import uuid
from collections.abc import Callable

from aiormq.abc import DeliveredMessage

from app.telemetry import logger
from bridges.inbound import dead_letters, lenient, updates
from bridges.inbound.updates import Refused, Update
from bridges.inbound.writing import Writing

_log = logger("bridge")


def taker(part: str, queue: str, writing: Writing) -> Callable[[DeliveredMessage], None]:
    """What takes each delivery of a session. It never waits, so deliveries stay in order, and it never raises.

    A delivery that raised would be acknowledged with the next one that is written: it is put aside instead.
    """
    session = uuid.uuid4().hex

    def take(message: DeliveredMessage) -> None:
        tag = message.delivery_tag
        assert tag is not None
        try:
            meaning = _meaning(message, f"{session}-{tag}")
        except Exception as bug:  # noqa: BLE001 - an edge: told, counted, put aside, and the next one is served
            _log.error("a message raised; the fault is ours", part=part, queue=queue, exc_info=bug)
            meaning = Refused("raised", type(bug).__name__)
        if isinstance(meaning, Update):
            writing.add(tag, meaning)
            return
        _log.warning("dead letter", part=part, queue=queue, reason=meaning.reason, detail=meaning.detail)
        properties = dict(message.header.properties)
        del properties["headers"]
        del properties["cluster_id"]  # AMQP 0-9-1 has it no more; pamqp always sets it
        properties["type"] = properties.pop("message_type")  # its name in AMQP
        details = {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "redelivered": message.redelivered,
            "delivery_tag": tag,
            **properties,
        }
        value, headers = dead_letters.record(
            meaning,
            queue=queue,
            body=message.body,
            headers=message.header.properties.headers,
            undecoded=lenient.undecoded(message.header),
            details=details,
        )
        writing.put_aside(tag, meaning.reason, value, headers)

    return take


def _meaning(message: DeliveredMessage, delivery: str) -> Update | Refused:
    if lenient.undecoded(message.header) is not None:
        return Refused("undecodable headers")
    properties = message.header.properties
    return updates.read(properties.headers, message.body, message_id=properties.message_id, delivery=delivery)
