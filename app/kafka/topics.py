"""The topics, their settings, and the check that every process makes at start (design §3)."""

from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

COMMANDS = "chat.group.commands.v1"
EVENTS = "chat.group.events.v1"
REPLIES = "chat.group.replies.v1"
SIGNALS = "chat.group.signals.v1"
READS = "chat.group.reads.v1"
MEMBERSHIPS = "chat.user.memberships.v1"
OWNERS = "chat.partition.owners.v1"
DEAD_LETTERS = "chat.deadletters.v1"

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS


class TopicsError(Exception):
    """The topics are not as they must be, or the broker does not say; the message names each fault."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: its name and the configuration that must hold."""

    name: str
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the topics are on this cluster: Kafka's own topic ids name the incarnation of each log."""

    partitions: int
    log_id: str
    commands_topic_id: str


def groups_changelog(app_id: str) -> str:
    """The changelog topic of the `groups` table."""
    return f"{app_id}-groups-changelog"


def history_changelog(app_id: str) -> str:
    """The changelog topic of the `history` table."""
    return f"{app_id}-history-changelog"


def changelogs(app_id: str) -> dict[str, str]:
    """The changelog topic of each table, by the table's name."""
    return {"groups": groups_changelog(app_id), "history": history_changelog(app_id)}


def specs(app_id: str, replication: int) -> list[TopicSpec]:
    """All topics with their settings."""
    compacted = {"cleanup.policy": "compact"}
    changelog = {
        **compacted,
        # A late row of a fenced owner must not outlive the claim that voids it (rule F3).
        "min.compaction.lag.ms": str(_HOUR_MS),
        "segment.bytes": str(64 * 1024 * 1024),
    }
    events = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    if replication == 1:
        # One copy: an acknowledgement means flushed to its disk (design §3).
        events["flush.messages"] = "1"
    return [
        TopicSpec(
            COMMANDS,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(7 * _DAY_MS),
                # The broker's instant is the command's `now` (design I8).
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        TopicSpec(EVENTS, events),
        TopicSpec(REPLIES, {"cleanup.policy": "delete", "retention.ms": str(_HOUR_MS)}),
        TopicSpec(SIGNALS, {"cleanup.policy": "delete", "retention.ms": str(10 * _MINUTE_MS)}),
        TopicSpec(READS, compacted),
        TopicSpec(MEMBERSHIPS, compacted),
        TopicSpec(OWNERS, compacted),
        TopicSpec(DEAD_LETTERS, {"cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}),
        TopicSpec(groups_changelog(app_id), changelog),
        TopicSpec(history_changelog(app_id), changelog),
    ]


def create(bootstrap: str, app_id: str, partitions: int, replication: int, timeout_s: float = 30) -> list[str]:
    """Make the topics that are missing; the names of those made. Existing ones stay as they are.

    Raises:
        TopicsError: the broker refused, or did not answer in `timeout_s`.
    """
    durable = {"unclean.leader.election.enable": "false"}
    if replication >= 3:
        durable["min.insync.replicas"] = "2"
    new = [
        NewTopic(s.name, num_partitions=partitions, replication_factor=replication, config={**s.config, **durable})
        for s in specs(app_id, replication)
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    made = []
    try:
        existing = set(admin.list_topics(timeout=timeout_s).topics)
        wanted = [topic for topic in new if topic.topic not in existing]
        for name, future in admin.create_topics(wanted, operation_timeout=timeout_s).items() if wanted else ():
            try:
                future.result(timeout=timeout_s)
                made.append(name)
            except KafkaException as refused:
                if refused.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
    except KafkaException as refused:
        raise TopicsError(f"{bootstrap}: {refused.args[0].str()}") from refused
    return made


def check(bootstrap: str, app_id: str, timeout_s: float = 30) -> Layout:
    """What is there, after checking that it can be worked with.

    Raises:
        TopicsError: a topic is missing, partition counts differ, a cleanup policy is wrong (each named), or
            the broker did not answer in `timeout_s`.
    """
    wanted = {s.name: s for s in specs(app_id, replication=1)}
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    faults = []
    try:
        metadata = admin.list_topics(timeout=timeout_s).topics
        missing = sorted(set(wanted) - set(metadata))
        if missing:
            raise TopicsError(f"{bootstrap}: no topic {', '.join(missing)}; `python -m app topics create` makes them")
        counts = {name: len(metadata[name].partitions) for name in wanted}
        if len(set(counts.values())) > 1:
            each = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))
            faults.append(f"partition counts must be equal: {each}")
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in wanted]
        for resource, future in admin.describe_configs(asked, request_timeout=timeout_s).items():
            policy = future.result(timeout=timeout_s)["cleanup.policy"].value
            due = wanted[resource.name].config["cleanup.policy"]
            if policy != due:
                faults.append(f"{resource.name}: cleanup.policy is {policy}, must be {due}")
        described = admin.describe_topics(TopicCollection([EVENTS, COMMANDS]), request_timeout=timeout_s)
        ids = {name: _as_java(future.result(timeout=timeout_s).topic_id) for name, future in described.items()}
    except KafkaException as refused:
        raise TopicsError(f"{bootstrap}: {refused.args[0].str()}") from refused
    if faults:
        raise TopicsError("\n".join(faults))
    return Layout(partitions=counts[EVENTS], log_id=ids[EVENTS], commands_topic_id=ids[COMMANDS])


def _as_java(topic_id: object) -> str:
    """A topic id as Kafka's own tools print it: base64 for URLs, where librdkafka's has `/` and `+`."""
    return str(topic_id).translate(str.maketrans("+/", "-_"))
