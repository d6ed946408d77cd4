"""Topics with the settings of the service's own, for what runs beside it."""

from confluent_kafka.admin import AdminClient, NewTopic

from app.kafka import topics
from app.kafka.leaders import wait_led

PIPE, ACKNOWLEDGE, FORWARD = (f"limit.{way}.commands" for way in ("pipe", "acknowledge", "forward"))
EVENTS = "limit.events"
_WITHIN_S = 30


def make(bootstrap: str, partitions: int, commands: tuple[str, ...] = (PIPE,)) -> None:
    """Topics for commands, and the one for what is written for them; ready to be used when this returns."""
    like = {**dict.fromkeys(commands, topics.COMMANDS), EVENTS: topics.EVENTS}
    specs = {spec.name: spec for spec in topics.specs("", replication=1)}
    new = [NewTopic(name, partitions, 1, config=specs[of].config) for name, of in like.items()]
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for made in admin.create_topics(new, operation_timeout=_WITHIN_S).values():
        made.result(timeout=_WITHIN_S)
    wait_led(bootstrap, list(like), partitions)
