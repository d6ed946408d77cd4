"""A broker that is silent or gone while records are under way: what cannot be delivered is never skipped."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.domain.commands import CreateGroup, Send
from app.kafka import topics
from tests.support.audit import Ledger, Witness, begin
from tests.support.driver import ORIGIN, WITHIN_S
from tests.support.sabotage import Processor
from tests.support.stack import Broker
from tests.support.waiting import eventually

LEFT = 70


class Service:
    """One processor on a broker that the test ill-treats."""

    def __init__(self, broker: Broker, data: Path) -> None:
        self.broker = broker
        self.driver = begin(broker.bootstrap, 2)
        self.ledger = Ledger(Witness(self.driver))
        self.processor = Processor(broker.bootstrap, data)
        self.groups = ["a", "b", "c", "d"]
        for group in self.groups:
            self.ledger.send(CreateGroup(id=f"{group}:create", group=group, by="olga", origin=ORIGIN, name="n"))

    def send(self, texts: range) -> None:
        """Messages in each group."""
        for n in texts:
            for group in self.groups:
                self.ledger.send(*(self.post(group, f"{n}{half}") for half in "ab"))

    def signal_broker(self, number: signal.Signals) -> None:
        """Signal the broker's own process, not who started it."""
        pids = re.findall(r"kafka: pid (\d+)", (self.broker.data / "kafka.out").read_text())
        os.kill(int(pids[-1]), number)

    def supervise(self, until: Callable[[], bool]) -> None:
        """Start the processor again whenever it has left, as `up` does, until all is well."""

        def look() -> bool:
            if self.processor.exit_code() is not None:
                assert self.processor.exit_code() in {LEFT, 1, 2}, self.processor.printed()
                self.processor.start()
            return until()

        eventually(look, within_s=WITHIN_S, what="all is well")

    def post(self, group: str, text: str) -> Send:
        """A message, whose text is its key."""
        return Send(
            id=f"{group}:{self.driver.next_id()}", group=group, by="olga", origin=ORIGIN, client_msg_id=text, text=text
        )


@pytest.fixture
def service(make_broker: Callable[[], Broker], tmp_path: Path) -> Iterator[Service]:
    made = Service(make_broker(), tmp_path / "processor")
    made.processor.start_and_wait(made.driver)
    yield made
    made.processor.kill()


def test_a_broker_that_is_silent_past_the_deadline_ends_the_process_and_nothing_is_skipped(service: Service) -> None:
    service.ledger.wait_settled()
    service.processor.arm(f"hold {topics.EVENTS}")
    service.send(range(20))
    service.driver.flush()
    service.processor.wait_held(topics.EVENTS, 20 * 2 * len(service.groups))
    service.signal_broker(signal.SIGSTOP)
    try:
        service.processor.arm("hurry")  # what was decided goes to a broker that does not answer
        assert service.processor.wait_exit() == LEFT
        assert "no delivery in" in service.processor.printed()
    finally:
        service.signal_broker(signal.SIGCONT)  # which now takes what was on the way, or some of it
    service.processor.arm()
    service.processor.start_and_wait(service.driver)
    service.send(range(20, 25))
    assert service.ledger.audit() == []


def test_a_broker_that_is_killed_under_load_and_started_again_loses_and_doubles_nothing(service: Service) -> None:
    service.send(range(100))
    service.ledger.driver.flush()
    eventually(lambda: len(service.ledger.witness.log()) > 100, within_s=WITHIN_S, what="some events")
    service.send(range(100, 200))
    service.processor.arm("hurry")  # the deadline comes before the broker does
    service.broker.kill()
    service.broker.start()
    service.supervise(service.ledger.settled)
    service.processor.arm()
    service.supervise(lambda: service.processor.serves(service.driver.layout.partitions))
    assert service.ledger.audit() == []


def test_a_command_that_raises_is_a_dead_letter_and_the_next_one_is_served(service: Service) -> None:
    service.ledger.wait_settled()
    service.processor.kill()
    service.processor.start_and_wait(service.driver, off=("no command raises",))
    bad = service.post("a", "boom")
    service.driver.send(bad)
    service.ledger.send(service.post("a", "next"))
    service.ledger.wait_settled()
    # Neither is in the events' topic, so both may come behind the next one's event.
    letters = eventually(lambda: service.driver.read(topics.DEAD_LETTERS), within_s=WITHIN_S, what="the dead letter")
    assert [m.key() for m in letters] == [b"a"]
    eventually(lambda: bad.id in service.ledger.witness.unknown(), within_s=WITHIN_S, what="an answer to the bad one")
    assert service.ledger.audit() == []


def test_commands_that_are_not_brought_are_asked_for_and_decided(service: Service) -> None:
    service.ledger.wait_settled()
    service.processor.kill()
    service.processor.start_and_wait(service.driver, off=("commands are brought",))
    service.send(range(1))
    assert service.ledger.audit() == []
    assert "commands wait and are not brought" in service.processor.printed()
