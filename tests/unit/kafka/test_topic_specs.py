"""Which settings of a topic break a promise, and which are only unwise."""

import pytest

from app.kafka import topics
from app.kafka.topic_specs import TopicSpec, specs


def spec(name: str, replication: int = 1) -> TopicSpec:
    return next(each for each in specs("app", replication) if each.name == name)


def as_made(of: TopicSpec, **other: str) -> dict[str, str | None]:
    return {**of.config, **of.advised, **{name.replace("_", "."): value for name, value in other.items()}}


@pytest.mark.parametrize("replication", [1, 2, 3])
def test_a_topic_as_it_is_made_has_no_fault_and_needs_no_advice(replication: int) -> None:
    for each in specs("app", replication):
        assert list(each.faults(as_made(each))) == []
        assert list(each.advice(as_made(each))) == []


@pytest.mark.parametrize(
    ("name", "replication", "setting", "value", "must"),
    [
        (topics.COMMANDS, 1, "message.timestamp.type", "CreateTime", "must be LogAppendTime"),
        (topics.COMMANDS, 1, "max.message.bytes", "262144", "must be at least 1048588"),
        (topics.EVENTS, 1, "retention.ms", "604800000", "must be -1"),
        (topics.EVENTS, 1, "retention.bytes", "1000000", "must be -1"),
        (topics.EVENTS, 1, "flush.messages", "9223372036854775807", "must be at most 1"),
        (topics.EVENTS, 1, "cleanup.policy", "compact", "must be delete"),
        (topics.REVOCATIONS, 1, "cleanup.policy", "delete", "must be compact"),
        (topics.REVOCATIONS, 1, "flush.messages", "9223372036854775807", "must be at most 1"),
        (topics.OWNERS, 1, "cleanup.policy", "compact,delete", "must be compact"),
        (topics.EVENTS, 3, "min.insync.replicas", "1", "must be at least 2"),
        (topics.EVENTS, 2, "unclean.leader.election.enable", "true", "must be false"),
        ("app-groups-changelog", 3, "min.insync.replicas", "1", "must be at least 2"),
        ("app-groups-changelog", 1, "min.compaction.lag.ms", "0", "must be at least 3600000"),
        ("app-history-changelog", 1, "min.compaction.lag.ms", "3599999", "must be at least 3600000"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_named_with_both_values(
    name: str, replication: int, setting: str, value: str, must: str
) -> None:
    found = as_made(spec(name, replication)) | {setting: value}
    assert list(spec(name, replication).faults(found)) == [f"{name}: {setting} is {value}, {must}"]


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        (topics.COMMANDS, "max.message.bytes", "2000000"),
        ("app-groups-changelog", "min.compaction.lag.ms", "7200000"),
        ("app-groups-changelog", "delete.retention.ms", "-1"),
        ("app-groups-changelog", "segment.bytes", "1048576"),
        (topics.COMMANDS, "retention.ms", "-1"),
    ],
)
def test_more_than_enough_is_neither_a_fault_nor_unwise(name: str, setting: str, value: str) -> None:
    found = as_made(spec(name)) | {setting: value}
    assert [*spec(name).faults(found), *spec(name).advice(found)] == []


def test_what_is_only_unwise_is_advice_and_no_fault() -> None:
    changelog = spec("app-groups-changelog")
    found = as_made(changelog, segment_bytes="1073741824")
    assert list(changelog.faults(found)) == []
    assert list(changelog.advice(found)) == [
        "app-groups-changelog: segment.bytes is 1073741824, should be at most 67108864"
    ]
