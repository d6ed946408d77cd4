"""The topics: made once, and checked by every process at its start (design §3)."""

import logging
import time
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from app.kafka.topic_specs import (
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    MEMBERSHIPS,
    OWNERS,
    READS,
    REPLIES,
    REVOCATIONS,
    SIGNALS,
    TopicSpec,
    changelogs,
    groups_changelog,
    history_changelog,
    specs,
)

__all__ = [
    "COMMANDS",
    "DEAD_LETTERS",
    "EVENTS",
    "MEMBERSHIPS",
    "OWNERS",
    "READS",
    "REPLIES",
    "REVOCATIONS",
    "SIGNALS",
    "Layout",
    "TopicSpec",
    "TopicsError",
    "changelogs",
    "check",
    "create",
    "find_log_id",
    "groups_changelog",
    "history_changelog",
    "specs",
]

_POLL_S = 0.1

_log = logging.getLogger("topics")


class TopicsError(Exception):
    """The topics are not as they must be, or the broker does not say; the message names each fault."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the topics are on this cluster: Kafka's own topic ids name the incarnation of each log."""

    partitions: int
    log_id: str
    commands_topic_id: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as it is: how many partitions, the fewest copies that one of them has, and its configuration."""

    partitions: int
    replication: int
    config: dict[str, str | None]


def create(bootstrap: str, app_id: str, partitions: int, replication: int, timeout_s: float = 30) -> list[str]:
    """Make the topics that are missing; the names of those made, once the broker tells of all. Others stay as they are.

    Raises:
        TopicsError: the broker refused, or did not answer or tell of them in `timeout_s`; or topics of ours exist with
            another number of partitions than the missing ones would get, and nothing was made.
    """
    wanted = {spec.name: spec for spec in specs(app_id, replication)}
    admin = _admin(bootstrap)
    made = []
    try:
        existing = admin.list_topics(timeout=timeout_s).topics
        missing = [spec for name, spec in wanted.items() if name not in existing]
        counts = {name: len(existing[name].partitions) for name in wanted if name in existing}
        if missing and (others := {count for count in counts.values() if count != partitions}):
            raise TopicsError(
                f"AUERBACH_PARTITIONS is {partitions}, but there are topics with {_in_words(others)} partitions "
                f"({_each(counts)}); the number is fixed for the life of the log"
            )
        new = [NewTopic(s.name, partitions, replication, config={**s.config, **s.advised}) for s in missing]
        for name, future in admin.create_topics(new, operation_timeout=timeout_s).items() if new else ():
            try:
                future.result(timeout=timeout_s)
                made.append(name)
            except KafkaException as refused:
                if refused.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
        _wait_told(admin, bootstrap, set(wanted), timeout_s)
    except KafkaException as refused:
        raise TopicsError(f"{bootstrap}: {refused.args[0].str()}") from refused
    return made


def _wait_told(admin: AdminClient, bootstrap: str, names: set[str], timeout_s: float) -> None:
    """Wait for the broker's metadata, which follow the controller's: on a slow machine, by seconds."""
    deadline = time.monotonic() + timeout_s
    while untold := names - set(admin.list_topics(timeout=timeout_s).topics):
        if time.monotonic() > deadline:
            raise TopicsError(
                f"{bootstrap}: made, but not told of after {timeout_s:.0f} s: {', '.join(sorted(untold))}"
            )
        time.sleep(_POLL_S)


def check(bootstrap: str, app_id: str, partitions: int | None = None, timeout_s: float = 30) -> Layout:
    """What is there, after checking that it can be worked with.

    `partitions`: what the settings say, None if they do not. What is merely unwise is logged.

    Raises:
        TopicsError: a topic is missing, partition counts differ from each other or from `partitions`, a setting breaks
            a promise (each named, with what is there and what must be), or the broker did not answer in `timeout_s`.
    """
    try:
        found, ids = _look(_admin(bootstrap), [spec.name for spec in specs(app_id, 1)], timeout_s)
    except KafkaException as refused:
        raise TopicsError(f"{bootstrap}: {refused.args[0].str()}") from refused
    faults, advice = _judge(bootstrap, app_id, partitions, found)
    if faults:
        raise TopicsError("\n".join(faults))
    if advice:
        _log.warning("these settings of topics are unwise: %s", "; ".join(advice))
    return Layout(partitions=found[EVENTS].partitions, log_id=ids[EVENTS], commands_topic_id=ids[COMMANDS])


def find_log_id(admin: AdminClient, timeout_s: float) -> str | None:
    """The id of the log that is there now; None if the broker does not say, or there is none. Blocks meanwhile."""
    try:
        future = admin.describe_topics(TopicCollection([EVENTS]), request_timeout=timeout_s)[EVENTS]
        return _as_java(future.result(timeout=2 * timeout_s).topic_id)
    except (KafkaException, TimeoutError):
        return None


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _look(admin: AdminClient, names: list[str], timeout_s: float) -> tuple[dict[str, _Found], dict[str, str]]:
    """Those of the topics that exist, and the ids of the two that name their log: three requests, whatever there is."""
    metadata = admin.list_topics(timeout=timeout_s).topics
    there = [name for name in names if name in metadata]
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    found = {}
    for resource, future in admin.describe_configs(asked, request_timeout=timeout_s).items() if asked else ():
        partitions = metadata[resource.name].partitions.values()
        found[resource.name] = _Found(
            partitions=len(partitions),
            replication=min(len(partition.replicas) for partition in partitions),
            config={name: entry.value for name, entry in future.result(timeout=timeout_s).items()},
        )
    logs = [name for name in (EVENTS, COMMANDS) if name in found]
    described = admin.describe_topics(TopicCollection(logs), request_timeout=timeout_s) if logs else {}
    return found, {name: _as_java(future.result(timeout=timeout_s).topic_id) for name, future in described.items()}


def _judge(
    bootstrap: str, app_id: str, partitions: int | None, found: dict[str, _Found]
) -> tuple[list[str], list[str]]:
    """What is wrong, and what is unwise."""
    faults: list[str] = []
    advice: list[str] = []
    names = [spec.name for spec in specs(app_id, 1)]
    missing = [name for name in names if name not in found]
    if missing:
        faults.append(f"{bootstrap}: no topic {', '.join(sorted(missing))}; `python -m app topics create` makes them")
    counts = {name: topic.partitions for name, topic in found.items()}
    if len(set(counts.values())) > 1:
        faults.append(f"partition counts must be equal: {_each(counts)}")
    if partitions is not None and (others := set(counts.values()) - {partitions}):
        faults.append(
            f"AUERBACH_PARTITIONS is {partitions}, the topics have {_in_words(others)} partitions; the number is fixed "
            "for the life of the log"
        )
    for name, topic in found.items():
        spec = next(s for s in specs(app_id, topic.replication) if s.name == name)
        faults += spec.faults(topic.config)
        advice += spec.advice(topic.config)
        in_sync = int(topic.config.get("min.insync.replicas") or 1)
        if in_sync > topic.replication:
            faults.append(f"{name}: min.insync.replicas is {in_sync}, more than its {topic.replication} replicas")
    return faults, advice


def _each(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))


def _in_words(numbers: set[int]) -> str:
    return " and ".join(str(number) for number in sorted(numbers))


def _as_java(topic_id: object) -> str:
    """A topic id as Kafka's own tools print it: base64 for URLs, where librdkafka's has `/` and `+`."""
    return str(topic_id).translate(str.maketrans("+/", "-_"))
