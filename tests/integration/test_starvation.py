"""Commands that wait and are not brought are noticed, asked for, and at last the process is left."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from agents import starvation
from agents.starvation import AGAIN_LOOKS, LEAVE_LOOKS, StarvationWatch, StarvedError
from app.kafka import consumer, topics
from tests.support.waiting import eventually


@dataclass
class Eater:
    """A partition as the watch sees it."""

    number: int
    next_command: int = 7
    idle: bool = True
    full: bool = False


@dataclass
class World:
    """Two partitions, and what was done about them."""

    eaters: list[Eater] = field(default_factory=lambda: [Eater(0), Eater(1)])
    asked: list[tuple[int, int]] = field(default_factory=list)
    left: list[Exception] = field(default_factory=list)

    def watch(self) -> StarvationWatch:
        return StarvationWatch("nowhere", lambda: self.eaters, lambda *what: self.asked.append(what), self.left.append)


def test_what_waits_for_two_looks_is_asked_for_again_and_for_a_minute_leaves() -> None:
    world = World()
    watch = world.watch()
    for _ in range(LEAVE_LOOKS - 1):
        watch.look([1])
    assert world.asked == [(1, 7)] * ((LEAVE_LOOKS - 1) // AGAIN_LOOKS)
    assert world.left == []
    watch.look([1])
    assert [type(why) for why in world.left] == [StarvedError]


@pytest.mark.parametrize("change", [{"next_command": 8}, {"idle": False}, {"full": True}])
def test_what_gets_on_or_is_busy_or_waits_for_another_does_not_starve(change: dict[str, Any]) -> None:
    world = World()
    watch = world.watch()
    watch.look([1])
    for name, value in change.items():
        setattr(world.eaters[1], name, value)
    watch.look([1])
    assert world.asked == []


def test_one_that_was_fed_is_counted_from_the_beginning() -> None:
    world = World()
    watch = world.watch()
    for waiting in ([1], [], [1], [0]) * LEAVE_LOOKS:
        watch.look(waiting)
    assert (world.asked, world.left) == ([], [])


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> str:
    name = "commands-of-the-starving"
    monkeypatch.setattr(topics, "COMMANDS", name)
    return name


def test_a_record_waits_and_the_marker_of_a_transaction_does_not(broker: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": broker, "transactional.id": "one", "log_level": 2})
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, 2)])[topic].result(90)
    producer.init_transactions(90)
    producer.begin_transaction()
    for partition in range(2):
        producer.produce(topic, b"command", b"key", partition)
    producer.commit_transaction(90)
    with consumer.reader(broker) as reader:
        # The markers are written behind the commit's answer.
        ends = [(0, 2), (0, 2)]
        eventually(
            lambda: [consumer.offsets(reader, topic, p) for p in range(2)] == ends, within_s=90, what="both markers"
        )
        assert starvation._waiting(reader, {0: 0, 1: 1}) == [0]
        assert starvation._waiting(reader, {0: 2, 1: 2}) == []
