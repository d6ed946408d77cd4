"""The processor on a real broker: what commands become, and what a restart, a kill and a lost disk leave whole."""

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from app.domain.commands import AddMember, CreateGroup, Join, Leave, RemoveMember, Send
from app.domain.events import Event, MessagePosted, encode_event
from app.domain.state import Group
from app.kafka import consumer, topics
from app.log.records import Claim, CommandPlace, claim_headers, encode_claim, event_headers
from app.reads import ReadEvents, ReadMessages, ReadState, ReadSubscription
from tables import group_rows
from tests.support.driver import ORIGIN, WITHIN_S, Driver
from tests.support.processors import SESSION_S
from tests.support.stack import Command, clean_environment
from tests.support.waiting import eventually


class Processor:
    """One processor in a process of its own."""

    def __init__(self, bootstrap: str, data: Path) -> None:
        self.data = data
        self._env = clean_environment(KAFKA_BOOTSTRAP=bootstrap, DATA=str(data), AUERBACH_SESSION_TIMEOUT_S=SESSION_S)
        self._starts = itertools.count()
        self._command: Command | None = None

    def start(self, driver: Driver) -> None:
        """Start it and wait until all partitions are open."""
        self.data.mkdir(parents=True, exist_ok=True)
        output = self.data / f"start-{next(self._starts)}.out"
        self._command = command = Command(output, self._env, "processor", "--worker", "processor-0")

        def opened() -> bool:
            assert command.process.poll() is None, command.printed()
            return command.printed().count('"event": "partition open"') >= driver.layout.partitions

        eventually(opened, within_s=WITHIN_S, what="all partitions are open")

    def kill(self) -> None:
        """kill -9."""
        assert self._command is not None
        self._command.process.kill()
        self._command.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._command.stop() if self._command is not None else 0

    def wait_for_exit(self, within_s: float = WITHIN_S) -> int:
        """The exit code, once it has left by itself."""
        assert self._command is not None
        return self._command.process.wait(within_s)


@pytest.fixture(scope="module")
def driver(module_broker: str) -> Driver:
    topics.create(module_broker, "auerbach", partitions=2, replication=1)
    return Driver(module_broker)


@pytest.fixture(scope="module")
def processor(module_broker: str, driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processor]:
    running = Processor(module_broker, tmp_path_factory.mktemp("processor"))
    running.start(driver)
    yield running
    running.stop()


@pytest.fixture
def group(driver: Driver, processor: Processor, new_group: Callable[[], str]) -> str:
    """An open group of olga's."""
    name = new_group()
    driver.send(CreateGroup(id=driver.next_id(), group=name, by="olga", origin=ORIGIN, name="n", join="open"))
    driver.wait_for_events(name, 1)
    return name


def post(driver: Driver, group: str, text: str, by: str = "olga", key: str | None = None, **fields: int) -> Send:
    command_id = driver.next_id()
    return Send(
        id=command_id, group=group, by=by, origin=ORIGIN, client_msg_id=key or command_id, text=text,
        reply_to=fields.get("reply_to"),
    )  # fmt: skip


def dead_letters(driver: Driver, group: str, count: int) -> list[Message]:
    """The dead letters with the key `group`, once there are `count`."""

    def look() -> list[Message] | None:
        letters = [m for m in driver.read(topics.DEAD_LETTERS) if m.key() == group.encode()]
        return letters if len(letters) >= count else None

    return eventually(look, within_s=WITHIN_S, what=f"{count} dead letters") or []


def test_an_array_becomes_an_event_each_in_its_order(driver: Driver, group: str) -> None:
    driver.send(*(post(driver, group, str(n)) for n in range(50)))
    events = driver.wait_for_events(group, 51)
    assert [e.seq for e in events] == list(range(1, 52))
    assert [e.data.text for e in events[1:]] == [str(n) for n in range(50)]  # type: ignore[union-attr]


def test_an_events_record_names_its_command_and_its_epoch(driver: Driver, group: str) -> None:
    first, second = post(driver, group, "a"), post(driver, group, "b")
    driver.send(first, second)
    driver.wait_for_events(group, 3)
    records = [v.record for v in driver.log() if v.event.group == group][1:]
    assert [r.command_id for r in records] == [first.id, second.id]
    assert [r.place.index for r in records] == [0, 1]
    assert {r.command_topic_id for r in records} == {driver.layout.commands_topic_id}
    assert {r.epoch for r in records} == {driver.owner(group).epoch}


def test_a_refusal_goes_to_the_gateway_that_waits_and_is_no_event(driver: Driver, group: str) -> None:
    command = post(driver, group, "hi", by="stranger")
    driver.send(command)
    refusal = driver.outcome(command.id).refusal
    assert refusal is not None
    assert (refusal.code, refusal.temporary) == ("not_a_member", False)
    assert len(driver.events(group)) == 1


def test_a_repetition_is_answered_with_the_first_seq(driver: Driver, group: str) -> None:
    first, again = post(driver, group, "hi", key="k"), post(driver, group, "hi", key="k")
    driver.send(first)
    driver.wait_for_events(group, 2)
    driver.send(again)
    outcome = driver.outcome(again.id)
    assert (outcome.duplicate, outcome.seq) == (True, 2)
    assert outcome.at == driver.events(group)[1].at


def test_nothing_changed_is_said_as_such(driver: Driver, group: str) -> None:
    ban = [RemoveMember(id=driver.next_id(), group=group, by="olga", origin=ORIGIN, user="zoe", ban=True) for _ in "ab"]
    driver.send(*ban)
    assert driver.outcome(ban[1].id).unchanged


def test_a_reply_to_a_message_and_to_what_is_none(driver: Driver, group: str) -> None:
    wrong = post(driver, group, "re", reply_to=1)
    driver.send(post(driver, group, "hi"), post(driver, group, "re", reply_to=2), wrong)
    assert driver.outcome(wrong.id).refusal.code == "no_such_message"  # type: ignore[union-attr]
    assert driver.wait_for_events(group, 3)[2].data.reply_to == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value",
    [None, b"", b"not json", b"[1,", b'{"type":"fly","id":"x","group":"g","by":"u"}', b"\xff\xfe", b'{"type":"join"}'],
)
def test_what_does_not_decode_is_a_dead_letter_and_the_next_command_is_served(
    driver: Driver, group: str, value: bytes | None
) -> None:
    driver.send_raw(driver.partition(group), group.encode(), value)
    driver.send(post(driver, group, "next"))
    driver.wait_for_events(group, 2)
    letters = dead_letters(driver, group, 1)
    assert [m.value() for m in letters] == [value]
    headers = dict(letters[0].headers() or ())
    assert headers["topic"] == topics.COMMANDS.encode()
    assert headers["reason"]
    assert int(headers["partition"]) == driver.partition(group)
    assert int(headers["offset"]) >= 0


def test_a_bad_element_is_a_dead_letter_alone(driver: Driver, group: str) -> None:
    good = post(driver, group, "good")
    elsewhere = next(name for n in range(99) if driver.partition(name := f"x{n}") != driver.partition(group))
    stray = msgspec.json.encode(Join(id="stray", group=elsewhere, by="olga"))
    value = b"[" + b",".join([b'{"type":"?"}', msgspec.json.encode(good), stray]) + b"]"
    driver.send_raw(driver.partition(group), group.encode(), value)
    assert driver.wait_for_events(group, 2)[1].data.text == "good"  # type: ignore[union-attr]
    letters = dead_letters(driver, group, 2)
    assert [m.value() for m in letters] == [b'{"type":"?"}', stray]


def test_the_owner_answers_from_what_is_on_disk_and_says_how_far(driver: Driver, group: str) -> None:
    driver.send(*(post(driver, group, str(n)) for n in range(5)))
    driver.wait_for_events(group, 6)
    end = driver.end(group)
    state, page, messages, begun = driver.ask(
        ReadState(group=group, user="olga", end=end),
        ReadEvents(group=group, user="olga", end=end, after=1, through=4),
        ReadMessages(group=group, user="olga", end=end, before=6, limit=2),
        ReadSubscription(group=group, user="olga", end=end, after=4, log=driver.layout.log_id),
    )
    assert state.state is not None
    assert [(m.user, m.role) for m in state.state.members] == [("olga", "owner")]
    assert (state.seq, state.epoch) == (6, driver.owner(group).epoch)
    assert state.offset >= end
    frames = [encode_event(e) for e in driver.events(group)]
    assert [bytes(f) for f in page.frames] == frames[1:4]
    assert [msgspec.json.decode(m)["text"] for m in messages.messages] == ["2", "3"]
    assert messages.more
    assert (begun.start, begun.recovered, [bytes(f) for f in begun.frames]) == (5, True, frames[4:])


def test_the_owner_tells_strangers_nothing(driver: Driver, group: str) -> None:
    end = driver.end(group)
    unknown = next(name for n in range(99) if driver.partition(name := f"{group}?{n}") == driver.partition(group))
    answers = driver.ask(
        *(kind(group=group, user="zoe", end=end) for kind in (ReadState, ReadMessages, ReadSubscription)),
        ReadState(group=unknown, user="olga", end=end),
    )
    assert [a.refusal.code for a in answers[:3] if a.refusal] == ["not_a_member"] * 3
    assert all(a.state is None and not a.frames and not a.messages for a in answers)


def test_an_end_that_the_log_does_not_reach_is_said_to_be_so_and_hurts_nobody(driver: Driver, group: str) -> None:
    end = driver.end(group)
    beyond, covered = driver.ask(*(ReadState(group=group, user="olga", end=e) for e in (end + 1, end)))
    assert (beyond.missing, beyond.state) == ("behind", None)
    assert covered.state is not None


def test_a_member_of_a_joined_group_gets_a_withheld_frame_for_what_was_before(
    driver: Driver, processor: Processor, new_group: Callable[[], str]
) -> None:
    group = new_group()
    driver.send(CreateGroup(id="c", group=group, by="olga", name="n", join="open", history="joined"))
    driver.send(post(driver, group, "a"), post(driver, group, "b"), Join(id="j", group=group, by="mike"))
    driver.send(post(driver, group, "c"))
    driver.wait_for_events(group, 5)
    end = driver.end(group)
    begun, messages, last = driver.ask(
        ReadSubscription(group=group, user="mike", end=end, after=0),
        ReadMessages(group=group, user="mike", end=end),
        ReadSubscription(group=group, user="mike", end=end, last=9),
    )
    assert msgspec.json.decode(begun.frames[0]) == {"type": "withheld", "group": group, "from": 1, "through": 3}
    assert [msgspec.json.decode(f)["seq"] for f in begun.frames[1:]] == [4, 5]
    assert [msgspec.json.decode(m)["text"] for m in messages.messages] == ["c"]
    assert (messages.more, last.start) == (False, 1)


def test_a_restart_goes_on_where_it_was(driver: Driver, processor: Processor, group: str) -> None:
    driver.send(post(driver, group, "before", key="k"), AddMember(id="a", group=group, by="olga", user="mike"))
    driver.wait_for_events(group, 3)
    assert processor.stop() == 0
    driver.send(post(driver, group, "meanwhile", by="mike"))
    processor.start(driver)
    again = post(driver, group, "before", key="k")
    driver.send(again, Leave(id="l", group=group, by="mike"))
    assert [e.kind for e in driver.wait_for_events(group, 5)[3:]] == ["message.posted", "member.left"]
    assert driver.outcome(again.id).seq == 2


def test_commands_before_an_offset_that_was_committed_too_far_are_decided(
    driver: Driver, processor: Processor, group: str
) -> None:
    assert processor.stop() == 0
    driver.send(post(driver, group, "one"))
    driver.send(post(driver, group, "two"))
    partition = driver.partition(group)
    member = Consumer({"bootstrap.servers": driver.bootstrap, "group.id": "auerbach", "log_level": 2})
    _, end = consumer.offsets(member, topics.COMMANDS, partition)

    def committed() -> bool:
        try:
            (place,) = member.commit(offsets=[TopicPartition(topics.COMMANDS, partition, end)], asynchronous=False)
        except KafkaException:  # the broker may not know yet that the group has nobody left
            return False
        return place.error is None

    eventually(committed, within_s=WITHIN_S, what=f"{end} is committed")
    member.close()
    processor.start(driver)
    assert [e.seq for e in driver.wait_for_events(group, 3)] == [1, 2, 3]


def test_kill_minus_nine_and_a_lost_disk_lose_nothing(driver: Driver, processor: Processor, group: str) -> None:
    driver.send(post(driver, group, "one", key="k"))
    driver.wait_for_events(group, 2)
    processor.kill()
    shutil.rmtree(processor.data / "tables")
    processor.start(driver)
    again = post(driver, group, "one", key="k")
    driver.send(again, post(driver, group, "two"))
    assert [e.seq for e in driver.wait_for_events(group, 3)] == [1, 2, 3]
    assert driver.outcome(again.id).seq == 2


def test_a_stale_row_that_compaction_might_keep_alone_is_healed_from_the_log(
    driver: Driver, processor: Processor, group: str
) -> None:
    driver.send(*(post(driver, group, str(n)) for n in range(5)))
    driver.wait_for_events(group, 6)
    epoch = driver.owner(group).epoch
    assert processor.stop() == 0
    state = Group(group, seq=2, first=1, life="alive", name="stale")
    stale = list(group_rows.part_rows(state, {("head",)}, epoch - 1))[-1]
    topic = topics.groups_changelog("auerbach")
    driver._producer.produce(topic, stale[1], stale[0], driver.partition(group))
    driver.flush()
    shutil.rmtree(processor.data / "tables")
    processor.start(driver)
    driver.send(post(driver, group, "after"))
    assert [e.seq for e in driver.wait_for_events(group, 7)] == list(range(1, 8))
    (state_now,) = driver.ask(ReadState(group=group, user="olga", end=driver.end(group)))
    assert state_now.state is not None
    assert state_now.state.name == "n"


def test_kill_minus_nine_under_load_loses_doubles_and_skips_nothing(
    driver: Driver, processor: Processor, new_group: Callable[[], str]
) -> None:
    groups = [new_group() for _ in range(4)]
    for group in groups:
        driver.send(CreateGroup(id=driver.next_id(), group=group, by="olga", name="n"))
    each, total = 500, 0
    for n in range(each):
        for group in groups:
            driver.send_soon(post(driver, group, f"{n}"), post(driver, group, f"{n}+"))
        if n in {100, 250, 400}:
            driver.flush()
            processor.kill()
            processor.start(driver)
    driver.flush()
    total = 2 * each + 1
    for group in groups:
        events = driver.wait_for_events(group, total)
        assert [e.seq for e in events] == list(range(1, total + 1))
        texts = [e.data.text for e in events[1:]]  # type: ignore[union-attr]
        assert texts == [t for n in range(each) for t in (f"{n}", f"{n}+")]
    doubled = [c for c, times in Counter(v.record.command_id for v in driver.log()).items() if times > 1]
    assert not [c for c in doubled if c.startswith("command-")]


def test_a_paused_owners_records_are_void_and_it_leaves_when_it_sees_the_newer_claim(
    driver: Driver, processor: Processor, group: str
) -> None:
    partition = driver.partition(group)
    ghost = Claim(log=driver.layout.log_id, worker="ghost", at="2026-11-25T01:20:00.123Z")
    producer = driver._producer
    producer.produce(topics.EVENTS, encode_claim(ghost), None, partition, headers=claim_headers())
    driver.flush()
    lost = post(driver, group, "void")
    driver.send(lost)
    assert processor.wait_for_exit() == 70
    assert [e.seq for e in driver.events(group)] == [1]
    processor.start(driver)
    # The command was never acknowledged to Faust, so it is decided again by the owner that holds the newest claim.
    events = driver.wait_for_events(group, 2)
    assert [(e.seq, e.data.text) for e in events[1:]] == [(2, "void")]  # type: ignore[union-attr]


def append_a_zombies_event(driver: Driver, group: str) -> None:
    """The group's next event as the owner before the present one would still write it."""
    zombie = Event(
        group=group, seq=2, id="z", kind="message.posted", by="olga", at=driver.events(group)[0].at,
        data=MessagePosted(text="zombie"),
    )  # fmt: skip
    headers = event_headers(
        zombie, epoch=driver.owner(group).epoch - 1, command_id="z", topic_id="t", place=CommandPlace(0, 0)
    )
    driver._producer.produce(
        topics.EVENTS, encode_event(zombie), group.encode(), driver.partition(group), headers=headers
    )
    driver.flush()


def test_a_zombies_late_event_is_passed_over(driver: Driver, processor: Processor, group: str) -> None:
    append_a_zombies_event(driver, group)
    driver.send(post(driver, group, "mine"))
    events = driver.wait_for_events(group, 2)
    assert [e.data.text for e in events[1:]] == ["mine"]  # type: ignore[union-attr]
    (state,) = driver.ask(ReadState(group=group, user="olga", end=driver.end(group)))
    assert state.seq == 2


def test_a_zombies_event_between_two_owners_is_not_folded(driver: Driver, processor: Processor, group: str) -> None:
    assert processor.stop() == 0  # its position is behind all of the log, so the next owner folds from here
    append_a_zombies_event(driver, group)
    processor.start(driver)
    driver.send(post(driver, group, "mine"))
    events = driver.wait_for_events(group, 2)
    assert [(e.seq, e.data.text) for e in events[1:]] == [(2, "mine")]  # type: ignore[union-attr]
