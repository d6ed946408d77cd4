"""Every request that changes a group, asked of real gateways: what it does, and that its repetition does nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.client import Client
from tests.contract.conftest import Connect

NewGroup = Callable[[], str]


async def begin(alice: Client, group: str) -> None:
    """alice's group: bob is a member, rita a reader, carol is banned; message 3 is alice's. The next seq is 4."""
    members = [{"user": "bob"}, {"user": "rita", "role": "reader"}]
    assert (await alice.ask("create_group", group=group, name="G", members=members))["ok"]
    assert (await alice.ask("remove_member", group=group, user="carol", ban=True))["seq"] == 2
    assert (await alice.ask("send", group=group, text="hi", client_msg_id="first"))["seq"] == 3


# A change that alice may ask for, and the event that it becomes.
CHANGES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("update_group", {"topic": "news", "name": "G"}, "group.updated", {"topic": "news"}),
    ("delete_group", {}, "group.deleted", {}),
    ("unban", {"user": "carol"}, "member.unbanned", {"user": "carol"}),
    ("set_role", {"user": "bob", "role": "reader"}, "member.role_changed", {"user": "bob", "role": "reader"}),
    (
        "set_role",
        {"user": "bob", "role": "owner"},
        "member.role_changed",
        {"user": "bob", "role": "owner", "from": "alice"},
    ),
    ("edit", {"seq": 3, "text": "hi!"}, "message.edited", {"target": 3, "text": "hi!"}),
    ("delete", {"seq": 3}, "message.deleted", {"target": 3}),
    ("react", {"seq": 3, "emoji": "👍"}, "reaction.added", {"target": 3, "emoji": "👍"}),
]


@pytest.mark.parametrize(("kind", "fields", "event", "data"), CHANGES)
async def test_a_change_is_one_event_and_its_repetition_at_the_other_gateway_none(
    connect: Connect, new_group: NewGroup, kind: str, fields: dict[str, Any], event: str, data: dict[str, Any]
) -> None:
    group = new_group()
    alice, elsewhere, bob = await connect("alice", 0), await connect("alice", 1), await connect("bob", 1)
    await begin(alice, group)
    assert (await bob.ask("subscribe", group=group))["seq"] == 3

    first = await alice.ask(kind, group=group, client_msg_id="c", **fields)
    again = await elsewhere.ask(kind, group=group, client_msg_id="c", **fields)

    assert (first["ok"], first["seq"], first.get("duplicate", False)) == (True, 4, False)
    assert (again["ok"], again["seq"], again["duplicate"]) == (True, 4, True)
    seen = await bob.next()
    assert [seen[name] for name in ("seq", "kind", "by", "client_msg_id", "data")] == [4, event, "alice", "c", data]


@pytest.mark.parametrize(
    ("user", "kind", "fields", "code"),
    [
        ("bob", "update_group", {"name": "H"}, "forbidden"),
        ("bob", "delete_group", {}, "forbidden"),
        ("bob", "unban", {"user": "carol"}, "forbidden"),
        ("carol", "unban", {"user": "carol"}, "banned"),
        ("bob", "set_role", {"user": "rita", "role": "member"}, "forbidden"),
        ("alice", "set_role", {"user": "dave", "role": "member"}, "not_a_member"),
        ("alice", "set_role", {"user": "alice", "role": "admin"}, "last_owner"),
        ("bob", "edit", {"seq": 3, "text": "mine"}, "forbidden"),
        ("alice", "edit", {"seq": 2, "text": "no message"}, "no_such_message"),
        ("alice", "edit", {"seq": 3, "text": "x" * 16_385}, "too_large"),
        ("bob", "delete", {"seq": 3}, "forbidden"),
        ("alice", "delete", {"seq": 9}, "no_such_message"),
        ("dave", "react", {"seq": 3, "emoji": "x"}, "not_a_member"),
        ("bob", "react", {"seq": 1, "emoji": "x"}, "no_such_message"),
        ("bob", "unreact", {"seq": 9, "emoji": "x"}, "no_such_message"),
    ],
)
async def test_refusals_of_changes(
    connect: Connect, new_group: NewGroup, user: str, kind: str, fields: dict[str, Any], code: str
) -> None:
    group = new_group()
    alice, asker = await connect("alice"), await connect(user, 1)
    await begin(alice, group)
    reply = await asker.ask(kind, group=group, client_msg_id="c", **fields)
    assert (reply["ok"], reply["error"]["code"], reply["error"]["temporary"]) == (False, code, False)


async def test_a_key_used_for_other_content_or_another_request_is_a_conflict_at_every_gateway(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, elsewhere = await connect("alice", 0), await connect("alice", 1)
    await begin(alice, group)
    assert (await alice.ask("edit", group=group, seq=3, text="a", client_msg_id="c"))["seq"] == 4
    for kind, fields in (
        ("edit", {"seq": 3, "text": "b"}),
        ("delete", {"seq": 3}),
        ("update_group", {"name": "H"}),
        ("send", {"text": "a"}),
    ):
        refused = await elsewhere.ask(kind, group=group, client_msg_id="c", **fields)
        assert refused["error"]["code"] == "conflict"
    assert (await elsewhere.ask("state", group=group))["state"]["seq"] == 4


async def test_what_changes_nothing_is_ok_without_a_seq(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice")
    await begin(alice, group)
    assert (await alice.ask("react", group=group, seq=3, emoji="👍"))["seq"] == 4
    for kind, fields in (
        ("update_group", {"name": "G", "topic": ""}),
        ("unban", {"user": "bob"}),
        ("set_role", {"user": "bob", "role": "member"}),
        ("react", {"seq": 3, "emoji": "👍"}),
        ("unreact", {"seq": 3, "emoji": "🎉"}),
    ):
        reply = await alice.ask(kind, group=group, **fields)
        assert (reply["ok"], "seq" in reply) == (True, False)
    assert (await alice.ask("state", group=group))["state"]["seq"] == 4


async def test_the_end_of_a_group_ends_every_subscription_and_its_next_life_is_another(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, bob, rita = await connect("alice", 0), await connect("bob", 0), await connect("rita", 1)
    elsewhere = await connect("alice", 1)
    await begin(alice, group)
    for socket in (alice, bob, rita):
        assert (await socket.ask("subscribe", group=group))["ok"]

    assert (await alice.ask("delete_group", group=group))["seq"] == 4
    for kind, fields in (("subscribe", {}), ("history", {}), ("send", {"text": "x", "client_msg_id": "x"})):
        assert (await rita.ask(kind, group=group, **fields))["error"]["code"] == "no_such_group"
    assert (await alice.ask("create_group", group=group, name="H", members=[{"user": "bob"}]))["seq"] == 5
    assert (await alice.ask("send", group=group, text="new", client_msg_id="new"))["seq"] == 6

    reply = await bob.ask("subscribe", group=group, after=3)
    assert (reply["recovered"], reply["from"], reply["state"]["first"]) == (False, 5, 5)
    assert await bob.seqs(2) == [5, 6]
    assert [message["seq"] for message in (await bob.ask("history", group=group))["messages"]] == [6]
    assert (await rita.ask("subscribe", group=group))["error"]["code"] == "not_a_member"
    # An owner may answer before a gateway has read as far in the log; who gets this reply has read all of it.
    assert (await elsewhere.ask("send", group=group, text="last", client_msg_id="last"))["seq"] == 7
    assert (await rita.ask("ping"))["ok"]
    for socket in (alice, bob, rita):
        assert [(frame["seq"], frame["kind"]) for frame in socket.others] == [(4, "group.deleted")]


async def test_what_becomes_of_a_message_is_seen_at_the_other_gateway(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group)

    async def message() -> dict[str, Any]:
        [item] = (await bob.ask("history", group=group))["messages"]
        assert isinstance(item, dict)
        return item

    edited = await alice.ask("edit", group=group, seq=3, text="hi!", client_msg_id="e")
    assert (await message())["text"] == "hi!"
    assert (await message())["edited_at"] > ""
    assert (await alice.ask("react", group=group, seq=3, emoji="👍"))["ok"]
    assert (await bob.ask("react", group=group, seq=3, emoji="👍"))["ok"]
    assert (await message())["reactions"] == {"👍": ["alice", "bob"]}
    assert (await alice.ask("unreact", group=group, seq=3, emoji="👍"))["ok"]
    assert (await message())["reactions"] == {"👍": ["bob"]}

    assert (await alice.ask("delete", group=group, seq=3))["ok"]
    gone = await message()
    assert (gone["text"], gone["deleted"], gone["reactions"]) == (None, True, {})
    assert "edited_at" not in gone

    reply = await bob.ask("subscribe", group=group, after=2)
    assert reply["from"] == 3
    replayed = [await bob.next() for _ in range(3)]
    assert [frame["seq"] for frame in replayed] == [3, edited["seq"], 5]
    assert [frame["data"] for frame in replayed[:2]] == [{"text": None, "deleted": True}] * 2
    again = await alice.ask("send", group=group, text="hi", client_msg_id="first")
    assert (again["seq"], again["duplicate"]) == (3, True)


async def test_the_state_is_served_as_it_was_at_any_seq_of_this_life(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group)
    assert (await alice.ask("set_role", group=group, user="bob", role="owner"))["seq"] == 4
    assert (await bob.ask("update_group", group=group, name="H", join="open"))["seq"] == 5

    then = (await alice.ask("state", group=group, at_seq=3))["state"]
    now = (await alice.ask("state", group=group, at_seq=5))["state"]

    assert (then["name"], then["join"], then["first"], then["seq"]) == ("G", "invite", 1, 3)
    assert [(m["user"], m["role"]) for m in then["members"]] == [
        ("alice", "owner"),
        ("bob", "member"),
        ("rita", "reader"),
    ]
    assert not any("read" in member for member in then["members"])
    assert "online" not in then
    assert (now["name"], now["join"], now["seq"]) == ("H", "open", 5)
    for seq in (0, 6):
        refused = await bob.ask("state", group=group, at_seq=seq)
        assert (refused["error"]["code"], refused["error"]["field"]) == ("invalid", "at_seq")


async def test_members_come_in_the_order_of_joining_page_by_page(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, rita = await connect("alice", 0), await connect("rita", 1)
    await begin(alice, group)
    assert (await alice.ask("add_member", group=group, user="dave"))["seq"] == 4
    pages, cursor = [], {}
    while True:
        page = await rita.ask("members", group=group, limit=2, **cursor)
        pages.append([member["user"] for member in page["members"]])
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert pages == [["alice", "bob"], ["rita", "dave"]]
