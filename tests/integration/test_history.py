"""The history on a real processor: what became of messages, after any crash, and where no deleted text is left."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from app.domain.commands import Command, CreateGroup, Delete, Edit, Join, PruneHistory, React, Send, UpdateGroup
from app.domain.events import encode_event
from app.kafka import topics
from app.reads import Answer, AnyRead, ReadEvents, ReadMembers, ReadMessages, ReadState, ReadSubscription
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.processors import Processor
from tests.support.waiting import eventually

REDACTED = {"text": None, "deleted": True}


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    topics.create(module_broker, "auerbach", partitions=2, replication=1)
    return Driver(module_broker)


@pytest.fixture(scope="module")
def processor(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    running = Processor(driver, tmp_path_factory.mktemp("processor"))
    running.start_open()
    yield running
    running.stop()


class Talk:
    """One group: commands in, answers out."""

    def __init__(self, driver: Driver, group: str) -> None:
        self.driver = driver
        self.group = group

    def ask(self, kind: type[Command], by: str | None, **fields: Any) -> Command:
        command_id = self.driver.next_id()
        command = kind(id=command_id, group=self.group, by=by, origin=ORIGIN, **fields)
        self.driver.send(command)
        return command

    def post(self, text: str, by: str = "ann") -> None:
        self.ask(Send, by, text=text, client_msg_id=self.driver.next_id())

    def reads(self, *kinds: tuple[type[AnyRead], dict[str, Any]]) -> list[Answer]:
        """The answers to reads of bob's, without what a restart may change."""
        end = self.driver.end(self.group)
        answers = self.driver.ask(*(kind(group=self.group, user="bob", end=end, **more) for kind, more in kinds))
        assert all(answer.offset >= end for answer in answers)
        return [msgspec.structs.replace(answer, offset=0, epoch=0) for answer in answers]


@pytest.fixture
def talk(driver: Driver, processor: Processor, new_group: Callable[[], str]) -> Talk:
    """Messages 3 to 6 of ann's: 3 edited, 4 edited and deleted, 5 with reactions, 6 as it was."""
    talk = Talk(driver, new_group())
    talk.ask(CreateGroup, "ann", name="n", join="open")
    talk.ask(Join, "bob")
    for text in ("edited-first", "secret-first", "liked", "plain"):
        talk.post(text)
    talk.ask(Edit, "ann", seq=3, text="edited-second")
    talk.ask(Edit, "ann", seq=4, text="secret-second")
    for by in ("bob", "ann"):
        talk.ask(React, by, seq=5, emoji="👍")
    talk.ask(UpdateGroup, "ann", name="m")
    talk.ask(Delete, "ann", seq=4)
    driver.wait_for_events(talk.group, 12)
    return talk


def everything() -> tuple[tuple[type[AnyRead], dict[str, Any]], ...]:
    return (
        (ReadMessages, {"limit": 200}),
        (ReadSubscription, {"after": 0}),
        (ReadEvents, {"after": 2, "through": 9}),
        (ReadState, {}),
        (ReadState, {"at_seq": 10}),
        (ReadMembers, {"limit": 1}),
    )


def test_what_became_of_messages_is_told_by_history_and_by_a_replay(driver: Driver, talk: Talk) -> None:
    messages, begun, _, _, then, members = talk.reads(*everything())
    items = [msgspec.json.decode(item) for item in messages.messages]
    events = driver.events(talk.group)
    assert [(item["seq"], item["text"]) for item in items] == [
        (3, "edited-second"), (4, None), (5, "liked"), (6, "plain"),
    ]  # fmt: skip
    assert items[0]["edited_at"] == events[6].at
    assert (items[1]["deleted"], items[1]["reactions"]) == (True, {})
    assert items[2]["reactions"] == {"👍": ["bob", "ann"]}
    frames = [bytes(frame) for frame in begun.frames]
    whole = [encode_event(event) for event in events]
    assert [msgspec.json.decode(frames[seq - 1])["data"] for seq in (4, 8)] == [REDACTED, REDACTED]
    assert [frame for n, frame in enumerate(frames, 1) if n not in {4, 8}] == [
        frame for n, frame in enumerate(whole, 1) if n not in {4, 8}
    ]
    assert then.state is not None
    assert (then.state.name, then.state.seq) == ("n", 10)
    assert ([m.user for m in members.members], members.cursor) == (["ann"], "1.0")


def test_a_command_about_a_deleted_message_is_refused_and_a_reaction_that_is_there_changes_nothing(
    driver: Driver, talk: Talk
) -> None:
    late = [talk.ask(Edit, "ann", seq=4, text="x"), talk.ask(React, "bob", seq=4, emoji="+")]
    again = talk.ask(React, "bob", seq=5, emoji="👍")
    codes = [(outcome.refusal.code if (outcome := driver.outcome(c.id)).refusal else None) for c in late]
    assert codes == ["no_such_message", "no_such_message"]
    assert driver.outcome(again.id).unchanged


def test_kill_minus_nine_and_a_lost_disk_leave_the_history_as_it_was(processor: Processor, talk: Talk) -> None:
    before = talk.reads(*everything())
    processor.kill()
    processor.start_open()
    assert talk.reads(*everything()) == before
    processor.kill()
    shutil.rmtree(processor.data / "tables")
    processor.start_open()
    assert talk.reads(*everything()) == before


def test_no_latest_row_of_the_changelogs_holds_a_deleted_text(driver: Driver, processor: Processor, talk: Talk) -> None:
    assert processor.stop() == 0  # what is unwritten is written
    latest = {
        (topic, message.key()): message.value()
        for topic in topics.changelogs("auerbach").values()
        for message in driver.read(topic)
    }
    processor.start_open()
    mine = [
        row for (_, key), row in latest.items() if key.startswith(talk.group.encode() + b"\x00") and row is not None
    ]
    assert [row for row in mine if b"edited-second" in row]
    assert not [row for row in mine if b"secret" in row]


def test_what_is_pruned_is_not_served_and_leaves_the_latest_rows(driver: Driver, talk: Talk) -> None:
    talk.ask(PruneHistory, None, through=5)
    driver.wait_for_events(talk.group, 13)
    messages, begun, missed = talk.reads(
        (ReadMessages, {}), (ReadSubscription, {"after": 0}), (ReadSubscription, {"after": 3})
    )
    assert [msgspec.json.decode(item)["text"] for item in messages.messages] == ["plain"]
    assert [(a.start, a.recovered) for a in (begun, missed)] == [(6, True), (6, False)]

    def swept() -> bool:
        talk.post("later")  # each flush sweeps some more
        latest = {m.key(): m.value() for m in driver.read(topics.history_changelog("auerbach"))}
        mine = [row for key, row in latest.items() if key.startswith(talk.group.encode() + b"\x00")]
        return not [row for row in mine if row is not None and b"liked" in row]

    eventually(swept, within_s=WITHIN_S, what="no latest row holds a pruned message")
