"""The topics on a real broker: made once, checked by every process, named by Kafka's own ids."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from app.kafka import consumer, topics
from app.kafka.leaders import wait_led
from app.kafka.partition import partition_for
from app.kafka.producer import Producer
from tests.support.java_keys import GOLDEN
from tests.support.ports import free_ports
from tests.support.stack import Command, clean_environment
from tests.support.waiting import eventually

WITHIN_S = 90


@pytest.fixture(scope="module")
def made(module_broker: str) -> str:
    """A broker with the topics of `auerbach`, two partitions each."""
    topics.create(module_broker, "auerbach", partitions=2, replication=1)
    return module_broker


@contextmanager
def altered(bootstrap: str, topic: str, **settings: str) -> Iterator[None]:
    """A topic with other settings for as long as it lasts."""
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def alter(how: AlterConfigOpType) -> None:
        entries = [
            ConfigEntry(name.replace("_", "."), value, incremental_operation=how) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(WITHIN_S)
        # The controller has them; the broker, which is asked, follows.
        eventually(lambda: settings.items() <= told().items(), within_s=WITHIN_S, what=f"{topic} with {settings}")

    def told() -> dict[str, str]:
        described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
        return {
            name.replace(".", "_"): entry.value
            for future in described.values()
            for name, entry in future.result(WITHIN_S).items()
        }

    before = told()
    alter(AlterConfigOpType.SET)
    yield
    settings = {name: before[name] for name in settings}
    alter(AlterConfigOpType.SET)


def refusal(bootstrap: str, app_id: str = "auerbach", partitions: int | None = None) -> list[str]:
    """The faults that a check names."""
    with pytest.raises(topics.TopicsError) as refused:
        topics.check(bootstrap, app_id, partitions)
    return str(refused.value).splitlines()


def test_missing_topics_are_named_and_then_made_once(module_broker: str) -> None:
    with pytest.raises(topics.TopicsError, match=rf"no topic .*{re.escape(topics.EVENTS)}.*topics create"):
        topics.check(module_broker, "auerbach")
    assert topics.EVENTS in topics.create(module_broker, "auerbach", partitions=2, replication=1)
    assert topics.create(module_broker, "auerbach", partitions=2, replication=1) == []
    first, again = topics.check(module_broker, "auerbach"), topics.check(module_broker, "auerbach", 2)
    assert first == again
    assert first.partitions == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", each) for each in (first.log_id, first.commands_topic_id))


class LateAdmin:
    """An admin client of a broker whose metadata tell of new topics late, as they do on a slow machine.

    The broker itself has all the time it needs, whatever timeout is asked for.
    """

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._late = 0

    def list_topics(self, timeout: float) -> Any:
        found = self._admin.list_topics(timeout=max(timeout, WITHIN_S))
        if self._late:
            self._late -= 1
            found.topics = {}
        return found

    def create_topics(self, new: list[NewTopic], operation_timeout: float) -> Any:
        self._late = 3
        return self._admin.create_topics(new, operation_timeout=operation_timeout)


def test_topics_are_made_when_the_broker_tells_of_them(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = LateAdmin(made)
    monkeypatch.setattr(topics, "_admin", lambda _: admin)
    assert sorted(topics.create(made, "late", 2, 1)) == ["late-groups-changelog", "late-history-changelog"]
    assert "late-groups-changelog" in admin.list_topics(10).topics


def test_a_broker_that_never_tells_of_its_topics_is_said(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = LateAdmin(made)
    monkeypatch.setattr(topics, "_admin", lambda _: admin)
    monkeypatch.setattr(admin, "_late", 10**9)
    monkeypatch.setattr(admin, "create_topics", lambda *_, **__: {})
    with pytest.raises(topics.TopicsError, match="made, but not told of after 1 s: auerbach-groups-changelog"):
        topics.create(made, "auerbach", 2, 1, timeout_s=1)


def test_topics_as_they_are_made_need_no_advice(made: str, caplog: pytest.LogCaptureFixture) -> None:
    topics.check(made, "auerbach")
    assert [record for record in caplog.records if record.name == "topics"] == []


def test_unequal_partition_counts_and_a_wrong_policy_are_named(made: str) -> None:
    admin = AdminClient({"bootstrap.servers": made})
    wrong = NewTopic(topics.history_changelog("third"), 3, 1, config={"cleanup.policy": "delete"})
    right = NewTopic(topics.groups_changelog("third"), 2, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([wrong, right]).values():
        future.result(WITHIN_S)
    wait_led(made, [wrong.topic, right.topic], 2)
    faults = "\n".join(refusal(made, "third"))
    assert "third-groups-changelog has 2" in faults
    assert "third-history-changelog has 3" in faults
    assert "third-history-changelog: cleanup.policy is delete, must be compact" in faults


def test_a_partition_count_that_was_chosen_is_held_against_the_topics(made: str) -> None:
    assert refusal(made, partitions=8) == [
        "AUERBACH_PARTITIONS is 8, the topics have 2 partitions; the number is fixed for the life of the log"
    ]


def test_topics_are_not_made_beside_others_with_another_number_of_partitions(made: str) -> None:
    with pytest.raises(topics.TopicsError, match=r"AUERBACH_PARTITIONS is 5, but there are topics with 2 partitions"):
        topics.create(made, "fourth", partitions=5, replication=1)
    assert f"no topic {topics.groups_changelog('fourth')}" in "\n".join(refusal(made, "fourth"))


def test_every_setting_that_breaks_a_promise_is_named_at_once(made: str) -> None:
    with (
        altered(made, topics.COMMANDS, message_timestamp_type="CreateTime"),
        altered(made, topics.EVENTS, retention_ms="1000", flush_messages="10000", min_insync_replicas="2"),
        altered(made, topics.groups_changelog("auerbach"), min_compaction_lag_ms="0"),
    ):
        assert sorted(refusal(made)) == [
            "auerbach-groups-changelog: min.compaction.lag.ms is 0, must be at least 3600000",
            f"{topics.COMMANDS}: message.timestamp.type is CreateTime, must be LogAppendTime",
            f"{topics.EVENTS}: flush.messages is 10000, must be at most 1",
            f"{topics.EVENTS}: min.insync.replicas is 2, more than its 1 replicas",
            f"{topics.EVENTS}: retention.ms is 1000, must be -1",
        ]
    topics.check(made, "auerbach")


def test_what_is_only_unwise_is_logged(made: str, caplog: pytest.LogCaptureFixture) -> None:
    with altered(made, topics.COMMANDS, retention_ms="3600000"):
        topics.check(made, "auerbach")
    assert f"{topics.COMMANDS}: retention.ms is 3600000, should be at least 604800000" in caplog.text


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (("processor",), {}),
        (("gateway",), {"AUERBACH_AUTH": "dev"}),
        (("topics", "check"), {}),
        (("up",), {"AUERBACH_AUTH": "dev"}),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_no_process_starts_on_topics_that_break_a_promise(
    made: str, tmp_path: Path, command: tuple[str, ...], settings: dict[str, str]
) -> None:
    where = {"KAFKA_BOOTSTRAP": made, "DATA": str(tmp_path / "data"), "PORT": str(free_ports(1))}
    env = clean_environment(**where, AUERBACH_PARTITIONS="8", **settings)
    with altered(made, topics.COMMANDS, message_timestamp_type="CreateTime"):
        process = Command(tmp_path / "out", env, *command)
        assert process.ended() == 2
    lines = [line for line in process.printed().splitlines() if line.startswith("error:")]
    assert [line.split(",")[0] for line in lines] == [
        "error: AUERBACH_PARTITIONS is 8",
        f"error: {topics.COMMANDS}: message.timestamp.type is CreateTime",
    ]


async def test_our_producer_puts_keys_where_the_java_client_does(made: str) -> None:
    topic, partitions = "keys", 7
    admin = AdminClient({"bootstrap.servers": made})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(WITHIN_S)
    wait_led(made, [topic], partitions)
    producer = Producer(made)
    for key, _ in GOLDEN:
        await producer.deliver(topic, -1, key=key.encode(), value=b"v")
    await producer.close(5)
    found = {}
    with consumer.reader(made) as reader:
        for partition in range(partitions):
            low, high = consumer.offsets(reader, topic, partition)
            for message in consumer.read(reader, topic, partition, low, high):
                found[(message.key() or b"").decode()] = partition
    assert found == {key: hashed % partitions for key, hashed in GOLDEN}
    assert found == {key: partition_for(key.encode(), partitions) for key, _ in GOLDEN}
