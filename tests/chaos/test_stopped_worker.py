"""Two real workers, one of which is stopped (SIGSTOP) for longer than its session, and then goes on (SIGCONT)."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.domain.commands import CreateGroup, Send
from app.kafka import topics
from app.reads import decode_owner
from tests.support.audit import Ledger, Witness, begin
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.processors import SESSION_S
from tests.support.rules import switch_off
from tests.support.sabotage import FENCED, Processor
from tests.support.stack import Broker
from tests.support.waiting import eventually

EVENTS_HELD = 2  # of each group: a message, its repetition, another message


class Pair:
    """Two workers, a slot each, who share the partitions."""

    def __init__(self, driver: Driver, data: Path) -> None:
        self.driver = driver
        # Only the first is to lose its session, as soon as a broker allows.
        self.slots = [
            Processor(driver.bootstrap, data / f"slot-{n}", f"processor-{n}", AUERBACH_SESSION_TIMEOUT_S=session_s)
            for n, session_s in enumerate(("6", SESSION_S))
        ]

    def start(self, off: tuple[str, ...]) -> None:
        for slot in self.slots:
            slot.start(off=off)
        eventually(lambda: len(set(self.owners().values())) == 2, within_s=WITHIN_S, what="both workers own something")

    def owners(self) -> dict[bytes, str]:
        return {m.key(): decode_owner(m.value()).worker for m in self.driver.read(topics.OWNERS)}

    def wait_owned_by(self, worker: str) -> None:
        eventually(lambda: set(self.owners().values()) == {worker}, within_s=WITHIN_S, what=f"{worker} owns all")

    def stop(self) -> None:
        for slot in self.slots:
            slot.kill()
            print(f"{slot.slot}:\n{slot.printed()}")  # pytest shows it where the test failed


def post(driver: Driver, group: str, text: str, user: str = "olga") -> Send:
    return Send(
        id=f"{group}:{driver.next_id()}", group=group, by=user, origin=ORIGIN, client_msg_id=f"{user}/{text}", text=text
    )


@pytest.fixture
def pair(make_broker: Callable[[], Broker], tmp_path: Path) -> Iterator[Pair]:
    broker = make_broker()
    made = Pair(begin(broker.bootstrap, 2), tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize("without", [(), ("F1",)], ids=["fenced", "without F1"])
def test_a_worker_that_was_stopped_for_longer_than_its_session_changes_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    """It holds undelivered events and undecided commands; what it still writes lands behind the next owner's."""
    for rule in without:
        switch_off(rule, monkeypatch.setattr)  # for the reader of the log, too
    # The watchdog would leave before anything is written: a worker whose loop wakes late enough has only the fences.
    pair.start(("leave after a pause", *without))
    ledger, stopped = Ledger(Witness(pair.driver)), pair.slots[0]
    groups = ["a", "b", "c", "d"]
    for group in groups:
        ledger.send(CreateGroup(id=f"{group}:create", group=group, by="olga", origin=ORIGIN, name="n", join="open"))
    ledger.wait_settled()
    stopped.arm(f"hold {topics.EVENTS}")
    for group in groups:
        ledger.send(
            post(pair.driver, group, "undelivered"),
            post(pair.driver, group, "undelivered"),
            post(pair.driver, group, "more"),
        )
    owners = pair.owners()
    mine = {group for group in groups if owners[b"%d" % pair.driver.partition(group)] == stopped.slot}
    elsewhere = {command for command in ledger.decisions if command.split(":")[0] not in mine}
    assert mine
    ledger.driver.flush()
    eventually(lambda: elsewhere <= ledger.with_outcome(), within_s=WITHIN_S, what="the other worker's outcomes")
    stopped.wait_held(topics.EVENTS, EVENTS_HELD * len(mine))
    stopped.signal(signal.SIGSTOP)
    for group in groups:
        ledger.send(post(pair.driver, group, "undecided"), post(pair.driver, group, "stranger's", user="stranger"))
    pair.wait_owned_by("processor-1")
    ledger.wait_settled()
    stopped.arm()
    stopped.signal(signal.SIGCONT)
    if without:
        eventually(ledger.audit_log, within_s=WITHIN_S, what="a fork")
        return
    assert stopped.wait_exit() == FENCED
    assert len(ledger.witness.log(fenced=False)) > len(ledger.witness.log()), "it wrote nothing that could be void"
    assert ledger.audit() == []
