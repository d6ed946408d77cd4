"""Where reading starts: what comes between two looks at the log is not passed over."""

import pytest
from confluent_kafka import TopicPartition

from app.kafka import consumer as kafka
from app.kafka import topics
from app.kafka.topics import Layout
from bridges.outbound import starts
from bridges.outbound.positions import Committed, Place
from bridges.outbound.starts import Starts

NOTHING = -1001  # librdkafka's offset of a partition that nothing is committed for


class Cluster:
    """A log that grows and may be replaced, and, as the consumer says it, what the group has committed."""

    def __init__(self) -> None:
        self.log_id = "one"
        self.end = 10
        self.offsets: dict[int, int] = {}

    def look(self) -> Layout:
        return Layout(partitions=4, log_id=self.log_id, commands_topic_id="t")

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        offsets = {each.partition: self.offsets.get(each.partition, NOTHING) for each in asked}
        return [TopicPartition(topics.EVENTS, p, offset, f"7 {self.log_id}") for p, offset in offsets.items()]


class Log:
    """As `positions.Log`, of a log whose partitions are all as long."""

    def __init__(self, cluster: Cluster) -> None:
        self._end = cluster.end

    def begin(self, partition: int, *, earliest: bool) -> Place:
        return Place(0 if earliest else self._end, -1)

    def resume(self, partition: int, committed: Committed, group: str) -> Place:
        return Place(committed.offset, int(committed.metadata.split()[0]))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(starts, "Log", lambda bootstrap, layout: Log(cluster))
    return cluster


def starts_of(cluster: Cluster) -> Starts:
    return Starts("kafka:9092", "auerbach-amqp-out", earliest=False, look=cluster.look)


def test_a_partition_starts_where_the_group_stands_else_at_the_end(cluster: Cluster) -> None:
    cluster.offsets[1] = 4
    starts = starts_of(cluster)
    starts.look()
    assert starts.places(cluster, [0, 1], lambda: False) == {0: Place(10, -1), 1: Place(4, 7)}


def test_the_end_is_the_one_of_the_first_look_however_often_the_log_is_looked_at(cluster: Cluster) -> None:
    starts = starts_of(cluster)
    starts.look()
    cluster.end = 25
    starts.look()
    assert starts.places(cluster, [0], lambda: False) == {0: Place(10, -1)}


def test_a_log_in_place_of_another_has_a_first_look_of_its_own(cluster: Cluster) -> None:
    starts = starts_of(cluster)
    starts.look()
    cluster.log_id, cluster.end = "two", 3
    starts.look()
    assert starts.log_id == "two"
    assert starts.places(cluster, [0], lambda: False) == {0: Place(3, -1)}


def test_before_the_first_look_no_log_is_known(cluster: Cluster) -> None:
    assert starts_of(cluster).log_id is None


def test_an_assignment_of_nothing_asks_for_nothing(cluster: Cluster) -> None:
    starts = starts_of(cluster)
    starts.look()
    assert starts.places(cluster, [], lambda: pytest.fail("asked")) == {}


def test_who_is_stopped_does_not_wait_for_the_group(cluster: Cluster) -> None:
    starts = starts_of(cluster)
    starts.look()
    with pytest.raises(kafka.ReadError, match="stopped"):
        starts.places(cluster, [0], lambda: True)
