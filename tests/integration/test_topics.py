"""The topics on a real broker: made once, checked by every process, named by Kafka's own ids."""

import re

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from app.kafka import topics


def test_missing_topics_are_named_and_then_made_once(module_broker: str) -> None:
    with pytest.raises(topics.TopicsError, match=rf"no topic .*{re.escape(topics.EVENTS)}.*topics create"):
        topics.check(module_broker, "auerbach")
    assert topics.EVENTS in topics.create(module_broker, "auerbach", partitions=2, replication=1)
    assert topics.create(module_broker, "auerbach", partitions=2, replication=1) == []
    first, again = topics.check(module_broker, "auerbach"), topics.check(module_broker, "auerbach")
    assert first == again
    assert first.partitions == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", each) for each in (first.log_id, first.commands_topic_id))


def test_unequal_partition_counts_and_a_wrong_policy_are_named(module_broker: str) -> None:
    topics.create(module_broker, "other", partitions=2, replication=1)
    admin = AdminClient({"bootstrap.servers": module_broker})
    wrong = NewTopic(topics.history_changelog("third"), 3, 1, config={"cleanup.policy": "delete"})
    right = NewTopic(topics.groups_changelog("third"), 2, 1, config={"cleanup.policy": "compact"})
    for future in admin.create_topics([wrong, right]).values():
        future.result(10)
    with pytest.raises(topics.TopicsError) as refused:
        topics.check(module_broker, "third")
    assert "third-history-changelog has 3" in str(refused.value)
    assert "third-history-changelog: cleanup.policy is delete, must be compact" in str(refused.value)
