"""What an owner answers: to whom, of which life, as of which seq, and only what is on disk."""

import asyncio
from typing import Any, cast

import msgspec
import pytest

from agents.partition import Partition
from agents.presence import PartitionPresence
from agents.reading import answer
from app.domain.commands import (
    AddMember,
    AnyCommand,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    UpdateGroup,
    message_of,
    reaction_of,
)
from app.domain.decide import decide
from app.domain.events import Event, encode_event
from app.domain.instants import to_text
from app.reads import PAGE_EVENTS, Answer, AnyRead, ReadEvents, ReadMembers, ReadMessages, ReadState, ReadSubscription
from tables import rows
from tables.history_rows import marks_prefix
from tables.partition_tables import PartitionTables
from tables.store import Store
from tests.support.counting_store import CountingStore, while_others_run
from tests.support.memory_store import MemoryStore
from tests.unit.domain.strategies import FIRST_MS
from tests.unit.tables.test_large_groups import large, write

LOG = "log"


class Log:
    """The log of a partition: delivered when the test says so, otherwise at once."""

    epoch = 3

    def __init__(self) -> None:
        self.at_once = True
        self._waiting: list[asyncio.Future[int]] = []

    def offset_after_all(self) -> asyncio.Future[int]:
        mark: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(mark)
        if self.at_once:
            self.deliver()
        return mark

    def deliver(self) -> None:
        """All that was asked for until now is on disk."""
        for mark in self._waiting:
            mark.set_result(40)
        self._waiting = []

    async def cover(self, end: int) -> bool:
        return True


class Owner:
    """A partition that serves the group "g": ann owns it, bob is in it."""

    def __init__(self, groups: Store | None = None) -> None:
        self.tables = PartitionTables(groups or MemoryStore(), MemoryStore())
        self.log = Log()
        self.presence = PartitionPresence(0)
        self.serving = True
        self.failed: list[Exception] = []

    def fail(self, why: Exception) -> None:
        self.failed.append(why)

    def ask(self, *commands: AnyCommand) -> int:
        """Decide commands, none of which may be refused; the seq after them."""
        for command in commands:
            group = self.tables.group(command.group)
            seq = message_of(command)
            target = None if seq is None else self.tables.target(group, seq, reaction_of(command))
            now_ms = FIRST_MS + 1_000 * group.seq
            outcome = decide(group, command, now_ms=now_ms, event_id=f"e{group.seq + 1}", target=target)
            assert isinstance(outcome, Event), outcome
            self.tables.apply(outcome, encode_event(outcome))
        return self.tables.group("g").seq

    async def read(self, read: AnyRead) -> Answer:
        return await answer(cast("Partition", self), LOG, read, timeout_s=5)

    async def messages(self, user: str | None = "ann", **bounds: Any) -> list[dict[str, Any]]:
        page = await self.read(ReadMessages(group="g", user=user, end=0, **bounds))
        return [msgspec.json.decode(item) for item in page.messages]

    async def subscribe(self, user: str = "ann", **fields: Any) -> tuple[int, bool, list[int]]:
        """Where a subscription begins, whether that is what was asked, and the seqs that follow."""
        begun = await self.read(ReadSubscription(group="g", user=user, end=0, log=LOG, **fields))
        return begun.start, begun.recovered, [msgspec.json.decode(frame)["seq"] for frame in begun.frames]


def by(user: str | None, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "group": "g", "by": user, **fields}


def post(text: str = "hi", user: str = "ann", **fields: Any) -> Send:
    return Send(**by(user), client_msg_id=f"{user} {text[:40]}", text=text, **fields)


@pytest.fixture
def owner() -> Owner:
    owner = Owner()
    owner.ask(CreateGroup(**by("ann"), name="first", join="open"), Join(**by("bob")))
    return owner


async def test_an_item_tells_what_became_of_its_message(owner: Owner) -> None:
    extras: dict[str, Any] = {"reply_to": 3, "mentions": ("bob",), "attributes": {"a": [1.50, None, "ü"]}}
    owner.ask(post("one"), post("two", "bob", **extras), Edit(**by("bob"), seq=4, text="three"))
    owner.ask(React(**by("ann"), seq=4, emoji="👍"), React(**by("bob"), seq=4, emoji="👍"))
    assert await owner.messages() == [
        {
            "seq": 3,
            "id": "e3",
            "by": "ann",
            "at": to_text(FIRST_MS + 2_000),
            "client_msg_id": "ann one",
            "text": "one",
            "reactions": {},
        },
        {
            "seq": 4,
            "id": "e4",
            "by": "bob",
            "at": to_text(FIRST_MS + 3_000),
            "client_msg_id": "bob two",
            "text": "three",
            "reply_to": 3,
            "mentions": ["bob"],
            "attributes": {"a": [1.5, None, "ü"]},
            "edited_at": to_text(FIRST_MS + 4_000),
            "reactions": {"👍": ["ann", "bob"]},
        },
    ]


async def test_a_deleted_message_is_there_without_its_content(owner: Owner) -> None:
    owner.ask(post("one", mentions=("bob",)), Edit(**by("ann"), seq=3, text="two"))
    owner.ask(React(**by("bob"), seq=3, emoji="+"), Delete(**by("ann"), seq=3))
    (item,) = await owner.messages()
    assert item == {
        "seq": 3,
        "id": "e3",
        "by": "ann",
        "at": to_text(FIRST_MS + 2_000),
        "client_msg_id": "ann one",
        "text": None,
        "deleted": True,
        "reactions": {},
    }


async def test_a_replay_redacts_a_deleted_message_and_its_edits_and_nothing_else(owner: Owner) -> None:
    owner.ask(post("one"), Edit(**by("ann"), seq=3, text="two"), post("three"))
    before = await owner.read(ReadEvents(group="g", user="bob", end=0, after=2, through=9))
    owner.ask(Delete(**by("ann"), seq=3))
    after = await owner.read(ReadEvents(group="g", user="bob", end=0, after=2, through=9))
    begun = await owner.read(ReadSubscription(group="g", user="bob", end=0, after=2, log=LOG))
    assert begun.frames == after.frames
    frames = [msgspec.json.decode(frame) for frame in after.frames]
    assert [frame["data"] for frame in frames[:2]] == [{"text": None, "deleted": True}] * 2
    assert after.frames[2] == before.frames[2]
    for old, new in zip(before.frames, frames[:2], strict=False):
        assert {**msgspec.json.decode(old), "data": new["data"]} == new


async def test_the_state_at_an_old_seq_is_without_what_is_known_of_now_only(owner: Owner) -> None:
    owner.ask(UpdateGroup(**by("ann"), name="second", topic="t"), Leave(**by("bob")), Join(**by("cyd")))
    owner.ask(SetRole(**by("ann"), user="cyd", role="admin"))
    answers = [await owner.read(ReadState(group="g", user="ann", end=0, at_seq=seq)) for seq in (2, 3, 5, 6)]
    states = [msgspec.json.decode(msgspec.json.encode(a.state)) for a in answers]
    assert states[0] == {
        "name": "first",
        "topic": "",
        "join": "open",
        "history": "all",
        "first": 1,
        "seq": 2,
        "members": [{"user": "ann", "role": "owner"}, {"user": "bob", "role": "member"}],
    }
    assert (states[1]["name"], states[1]["topic"], states[1]["seq"]) == ("second", "t", 3)
    assert states[2]["members"] == [{"user": "ann", "role": "owner"}, {"user": "cyd", "role": "member"}]
    # At the head it is the state of now.
    assert states[3]["members"][1] == {"user": "cyd", "role": "admin", "read": 5}
    assert states[3]["online"] == []


async def test_a_seq_that_is_none_of_this_life_is_invalid(owner: Owner) -> None:
    first = owner.ask(DeleteGroup(**by("ann")), CreateGroup(**by("ann"), name="n"))
    for seq in (0, first - 1, first + 1, 2**53 - 1):
        refusal = (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=seq))).refusal
        assert refusal is not None
        assert (refusal.code, refusal.field) == ("invalid", "at_seq")
    assert (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=first))).refusal is None


async def test_the_state_at_a_withheld_seq_is_forbidden(owner: Owner) -> None:
    owner.ask(UpdateGroup(**by("ann"), history="joined"), post("one"), Join(**by("cyd")), post("two"))
    withheld, all_saw, own = [
        await owner.read(ReadState(group="g", user="cyd", end=0, at_seq=seq)) for seq in (4, 2, 5)
    ]
    assert withheld.refusal is not None
    assert (withheld.refusal.code, withheld.state) == ("forbidden", None)
    assert all_saw.state is not None
    assert own.state is not None


async def test_members_come_in_pages_in_the_order_of_joining_whoever_leaves_meanwhile(owner: Owner) -> None:
    owner.ask(*(AddMember(**by("ann"), user=f"u{n}") for n in (3, 1, 2)), SetRole(**by("ann"), user="u3", role="admin"))
    first = await owner.read(ReadMembers(group="g", user="bob", end=0, limit=2))
    assert first.cursor is not None
    owner.ask(Leave(**by("bob")))
    second = await owner.read(ReadMembers(group="g", user="ann", end=0, limit=2, cursor=first.cursor))
    third = await owner.read(ReadMembers(group="g", user="ann", end=0, limit=2, cursor=second.cursor))
    assert [[m.user for m in page.members] for page in (first, second, third)] == [["ann", "bob"], ["u3", "u1"], ["u2"]]
    assert third.cursor is None
    assert [(m.role, m.read) for m in second.members] == [("admin", 3), ("member", 4)]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.x", "-1.5", " 1 . 2", "1_0.0", "9" * 5_000])
async def test_a_cursor_that_no_answer_gave_is_invalid(owner: Owner, cursor: str) -> None:
    refusal = (await owner.read(ReadMembers(group="g", user="ann", end=0, cursor=cursor))).refusal
    assert refusal is not None
    assert (refusal.code, refusal.field) == ("invalid", "cursor")


async def test_members_of_a_creation_are_paged_by_their_place_and_a_page_has_an_end() -> None:
    groups = MemoryStore()
    write(groups, large(members=2_500))
    owner, seen, cursor = Owner(groups), [], None
    while seen == [] or cursor is not None:
        page = await owner.read(ReadMembers(group="g", user="user-00000", end=0, limit=9_999, cursor=cursor))
        assert len(page.members) <= 1_000
        seen, cursor = [*seen, *(m.user for m in page.members)], page.cursor
    assert seen == [f"user-{n:05}" for n in range(2_500)]


@pytest.mark.parametrize("kind", [ReadState, ReadMembers, ReadMessages, ReadSubscription])
async def test_who_is_no_member_is_told_nothing(owner: Owner, kind: Any) -> None:
    owner.ask(post(), RemoveMember(**by("ann"), user="bob", ban=True))
    codes = {}
    for group, user in (("g", "zoe"), ("g", "bob"), ("none", "ann")):
        said = await owner.read(kind(group=group, user=user, end=0))
        assert said.refusal is not None
        assert said == Answer(refusal=said.refusal, epoch=3, offset=40, seq=said.seq)
        codes[group, user] = said.refusal.code
    assert codes == {("g", "zoe"): "not_a_member", ("g", "bob"): "banned", ("none", "ann"): "no_such_group"}


async def test_what_is_pruned_is_not_served_and_who_missed_it_is_told(owner: Owner) -> None:
    owner.ask(
        *(post(str(n)) for n in range(6)), PruneHistory(**by(None), through=5), Edit(**by("ann"), seq=7, text="e")
    )
    assert [item["seq"] for item in await owner.messages(limit=200)] == [6, 7, 8]
    assert await owner.messages(before=6) == []
    assert await owner.subscribe(after=3) == (6, False, [6, 7, 8, 9, 10])
    assert await owner.subscribe(after=5) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(after=0) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(last=99) == (6, True, [6, 7, 8, 9, 10])
    assert await owner.subscribe(last=2) == (9, True, [9, 10])
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=0, through=7))
    assert [msgspec.json.decode(frame)["seq"] for frame in page.frames] == [6, 7]
    assert (await owner.read(ReadState(group="g", user="ann", end=0, at_seq=2))).state is not None


async def test_the_edit_of_a_message_that_was_pruned_has_no_text(owner: Owner) -> None:
    owner.ask(
        post("old"), post("new"), Edit(**by("ann"), seq=3, text="old, edited"), Edit(**by("ann"), seq=4, text="e")
    )
    owner.ask(PruneHistory(**by(None), through=3))
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=3, through=6))
    data = [msgspec.json.decode(frame)["data"] for frame in page.frames]
    assert data == [{"text": "new"}, {"text": None, "deleted": True}, {"target": 4, "text": "e"}]


async def test_nothing_of_an_earlier_life_is_served(owner: Owner) -> None:
    first = owner.ask(post("old"), DeleteGroup(**by("ann")), CreateGroup(**by("ann"), name="n"))
    head = owner.ask(post("new"))
    assert [item["text"] for item in await owner.messages()] == ["new"]
    assert await owner.messages(before=first) == []
    assert await owner.subscribe(after=2) == (first, False, [first, head])
    assert await owner.subscribe(after=first - 1) == (first, True, [first, head])
    assert await owner.subscribe(after=0) == (first, True, [first, head])
    assert await owner.subscribe(last=9) == (first, True, [first, head])
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=1, through=head))
    assert [msgspec.json.decode(frame)["seq"] for frame in page.frames] == [first, head]
    owner.ask(PruneHistory(**by(None), through=head))
    assert await owner.subscribe(after=first - 1) == (head + 1, True, [head + 1])
    assert await owner.subscribe(after=first) == (head + 1, False, [head + 1])


async def test_where_a_subscription_begins(owner: Owner) -> None:
    owner.ask(post("a"), post("b"))
    assert await owner.subscribe() == (5, True, [])
    assert await owner.subscribe(after=4) == (5, True, [])
    assert await owner.subscribe(after=2) == (3, True, [3, 4])
    assert await owner.subscribe(after=5) == (5, False, [])
    assert await owner.subscribe(last=0) == (5, True, [])
    elsewhere = ReadSubscription(group="g", user="ann", end=0, after=2, log="another log")
    begun = await owner.read(elsewhere)
    assert (begun.start, begun.recovered, begun.frames) == (5, False, [])


async def test_what_may_not_be_read_is_one_frame_in_its_place_and_does_not_count(owner: Owner) -> None:
    owner.ask(
        UpdateGroup(**by("ann"), history="joined"), Leave(**by("bob")), post("away"), Join(**by("bob")), post("back")
    )
    begun = await owner.read(ReadSubscription(group="g", user="bob", end=0, last=4, log=LOG))
    frames = [msgspec.json.decode(frame) for frame in begun.frames]
    assert frames[2] == {"type": "withheld", "group": "g", "from": 5, "through": 5}
    assert [frame.get("seq") for frame in frames] == [3, 4, None, 6, 7]
    assert [item["text"] for item in await owner.messages("bob")] == ["back"]
    assert begun.through == 7


async def test_pages_of_events_join_without_a_gap(owner: Owner) -> None:
    head = owner.ask(*(post(str(n)) for n in range(1_100)))
    seen, through = [], 0
    while through < head:
        page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=through, through=head))
        assert 0 < len(page.frames) <= PAGE_EVENTS
        seen += [msgspec.json.decode(frame)["seq"] for frame in page.frames]
        through = page.through
    assert seen == list(range(1, head + 1))


async def test_pages_of_long_messages_are_cut_by_their_bytes(owner: Owner) -> None:
    head = owner.ask(*(post(f"{n} " + "x" * 16_000) for n in range(40)))
    page = await owner.read(ReadEvents(group="g", user="ann", end=0, after=2, through=head))
    assert len(page.frames) == page.through - 2 < 40
    items = await owner.read(ReadMessages(group="g", user="ann", end=0, limit=200))
    assert len(items.messages) < 40
    assert items.more
    assert sum(len(bytes(item)) for item in items.messages) < 300_000


async def test_a_page_that_saw_a_later_deletion_waits_until_that_is_on_disk(owner: Owner) -> None:
    owner.ask(post("one"))
    owner.log.at_once = False
    asked = asyncio.create_task(owner.read(ReadMessages(group="g", user="ann", end=0)))
    await asyncio.sleep(0)
    owner.ask(Delete(**by("ann"), seq=3))
    owner.log.deliver()  # what was appended when the read came
    for _ in range(20):
        await asyncio.sleep(0)
    assert not asked.done()
    owner.log.deliver()
    said = await asked
    assert (said.seq, [msgspec.json.decode(item)["text"] for item in said.messages]) == (3, [None])


async def test_an_event_that_is_missing_is_said_to_be_loading(owner: Owner) -> None:
    owner.ask(post("one"), Edit(**by("ann"), seq=3, text="two"), post("three"))
    snapshot = owner.tables.snapshot(1)
    gone = {rows.event_key("g", seq) for seq in (1, 4)}
    for name, changes in (("groups", snapshot.groups), ("history", snapshot.history)):
        owner.tables.stores[name].write([change for change in changes if change[0] not in gone], 0)
    owner.tables.written()
    for read in (
        ReadMessages(group="g", user="ann", end=0),
        ReadEvents(group="g", user="ann", end=0, after=2, through=4),
        ReadEvents(group="g", user="ann", end=0, after=2, through=5),
        ReadState(group="g", user="ann", end=0, at_seq=2),
    ):
        assert await owner.read(read) == Answer(missing="loading")


async def test_where_events_are_older_than_marks_a_page_is_exact_all_the_same(owner: Owner) -> None:
    owner.ask(post("one"), React(**by("bob"), seq=3, emoji="+"), post("two"), React(**by("bob"), seq=5, emoji="+"))
    snapshot = owner.tables.snapshot(1)
    unmarked = [change for change in snapshot.history if not change[0].startswith(marks_prefix("g"))]
    owner.tables.stores["groups"].write(snapshot.groups, 0)
    owner.tables.stores["history"].write(unmarked, 0)
    owner.tables = PartitionTables(*owner.tables.stores.values())
    for limit, seqs, more in ((1, [5], True), (2, [3, 5], False), (3, [3, 5], False)):
        page = await owner.read(ReadMessages(group="g", user="ann", end=0, limit=limit))
        assert ([msgspec.json.decode(item)["seq"] for item in page.messages], page.more) == (seqs, more)


async def test_a_partition_that_is_taken_away_while_it_is_read_does_not_fail() -> None:
    class Closed(MemoryStore):
        def get(self, key: bytes) -> bytes | None:
            owner.serving = False
            raise OSError("the database is closed")

    owner = Owner(Closed())
    assert await owner.read(ReadState(group="g", user="ann", end=0)) == Answer(missing="not_owner")
    assert owner.failed == []


async def test_a_read_of_a_large_group_does_not_hold_the_loop() -> None:
    groups = CountingStore(MemoryStore())
    write(groups, large(members=20_000))
    owner = Owner(groups)
    said, most = await while_others_run(owner.read(ReadState(group="g", user="user-00007", end=0)), groups)
    assert said.state is not None
    assert (len(said.state.members), said.state.members_more) == (1_000, True)
    assert most < 3_000


async def test_an_outside_authority_reads_all_of_the_current_life_and_nothing_before_it(owner: Owner) -> None:
    owner.ask(post("old"), DeleteGroup(**by("ann")))
    first = owner.ask(CreateGroup(**by("ann"), name="n", history="joined"))
    owner.ask(post("one"), AddMember(**by("ann"), user="bob"), post("two"), RemoveMember(**by("ann"), user="bob"))
    page = await owner.read(ReadMessages(group="g", user=None, end=0))
    assert [msgspec.json.decode(item)["text"] for item in page.messages] == ["one", "two"]
    assert (page.oldest, page.refusal) == (first, None)
    owner.ask(PruneHistory(**by(None), through=first + 1))
    page = await owner.read(ReadMessages(group="g", user=None, end=0))
    assert ([msgspec.json.decode(item)["text"] for item in page.messages], page.oldest) == (["two"], first + 2)
    state = await owner.read(ReadState(group="g", user=None, end=0, at_seq=first))
    assert state.state is not None


async def test_an_outside_authority_is_told_of_no_group_that_is_not_there(owner: Owner) -> None:
    owner.ask(post("old"), DeleteGroup(**by("ann")))
    for group in ("g", "none"):
        said = await owner.read(ReadMessages(group=group, user=None, end=0))
        assert said.refusal is not None
        assert (said.refusal.code, said.messages) == ("no_such_group", [])


async def test_the_newest_messages_cost_as_many_rows_whatever_the_history() -> None:
    read = {}
    for messages in (100, 10_000):
        history = CountingStore(MemoryStore())
        owner = Owner()
        owner.tables = PartitionTables(MemoryStore(), history)
        owner.ask(CreateGroup(**by("ann"), name="n"), *(post(str(n)) for n in range(messages)))
        history.write(owner.tables.snapshot(1).history, 0)
        owner.tables.written()
        before = history.read
        assert len(await owner.messages(user=None, limit=50)) == 50
        read[messages] = history.read - before
    assert 50 <= read[100] < 250
    assert read[10_000] <= read[100] + 2  # they may lie in two blocks of marks
