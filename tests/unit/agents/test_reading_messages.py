"""Pages of messages: what became of each, and what a page costs."""

from typing import Any

import msgspec

from app.domain.commands import CreateGroup, Delete, Edit, React
from app.domain.instants import to_text
from app.reads import ReadMessages
from tables.history_rows import marks_prefix
from tables.partition_tables import PartitionTables
from tests.support.counting_store import CountingStore
from tests.support.memory_store import MemoryStore
from tests.unit.agents.owner import Owner, by, post
from tests.unit.domain.strategies import FIRST_MS


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
