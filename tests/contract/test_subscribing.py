"""Subscriptions, asked of real gateways: how many, where they begin, in what order, and what replaces them."""

import asyncio
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from tests.contract.client import Client
from tests.contract.conftest import Connect

NewGroup = Callable[[], str]


async def begin(client: Client, group: str, **fields: Any) -> None:
    reply = await client.ask("create_group", group=group, name="G", **fields)
    assert reply["ok"], reply


async def post(client: Client, group: str, *texts: str) -> list[int]:
    """Post messages, pipelined; their seqs."""
    numbers = [await client.start("send", group=group, text=text, client_msg_id=text) for text in texts]
    return [(await client.reply(number))["seq"] for number in numbers]


async def replies(client: Client, numbers: list[int]) -> list[dict[str, Any]]:
    """The replies to requests of several groups, which come in any order; no other frames may come between."""
    frames = [await client.next() for _ in numbers]
    assert sorted(frame["id"] for frame in frames) == sorted(numbers)
    return sorted(frames, key=lambda frame: numbers.index(frame["id"]))


def codes(reply: dict[str, Any]) -> list[str]:
    """What became of each group of a batch."""
    return ["ok" if result["ok"] else result["error"]["code"] for result in reply["results"]]


async def test_a_socket_follows_a_thousand_groups_and_not_one_more(connect: Connect, new_group: NewGroup) -> None:
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    groups = [new_group() for _ in range(1_002)]
    numbers = [await alice.start("create_group", group=group, name="G") for group in groups]
    assert [reply["seq"] for reply in await replies(alice, numbers)] == [1] * len(groups)

    batches = [[{"group": group} for group in groups[at : at + 100]] for at in range(0, 1_000, 100)]
    batches[-1] = batches[-1][:-1]  # 999
    numbers = [await reader.start("subscribe", groups=batch) for batch in batches]
    results = [result for reply in await replies(reader, numbers) for result in reply["results"]]
    assert [(result["group"], result["seq"], result["from"]) for result in results] == [
        (group, 1, 2) for group in groups[:999]
    ]

    # What is no group, or not the asker's, takes no place and is told so first; who is there already needs none.
    tried = [new_group(), groups[0], groups[1_000], groups[1_001]]
    reply = await reader.ask("subscribe", groups=[{"group": group, "state": True} for group in tried])
    assert codes(reply) == ["no_such_group", "ok", "ok", "too_many_groups"]
    assert [result["group"] for result in reply["results"]] == tried
    assert not any("state" in result for result in reply["results"])
    refused = await reader.ask("subscribe", group=groups[999])
    assert (refused["error"]["code"], refused["error"]["temporary"]) == ("too_many_groups", False)
    assert (await reader.ask("subscribe", group=new_group()))["error"]["code"] == "no_such_group"
    assert (await reader.ask("subscribe", group=groups[1], last=0))["ok"]

    assert (await reader.ask("unsubscribe", group=groups[500]))["ok"]
    assert (await reader.ask("subscribe", group=groups[999]))["ok"]
    assert reader.others == []

    for group in (*groups[:3], groups[500], *groups[998:]):
        assert await post(alice, group, "x") == [2]
    heard = [(await reader.next())["group"] for _ in range(6)]  # of several partitions, in whatever order
    assert sorted(heard) == sorted([*groups[:3], *groups[998:1_001]])
    for group in (groups[500], groups[1_001]):
        assert await post(reader, group, "y") == [3]  # its gateway has read what was posted there before
    assert reader.others == []


async def test_a_subscription_is_replaced_under_load_and_nothing_of_the_old_run_follows_the_reply(
    connect: Connect, new_group: NewGroup
) -> None:
    group, dice = new_group(), Random(5)
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    await begin(alice, group)
    head = (await post(alice, group, *(f"before {n}" for n in range(300))))[-1]
    enough = asyncio.Event()

    async def write() -> int:
        seq, numbers = head, itertools.count()
        while not enough.is_set():
            [seq] = await post(alice, group, f"meanwhile {next(numbers)}")
        return seq

    writing = asyncio.create_task(write())
    for _ in range(40):
        after = dice.randrange(head + 1)
        old = await reader.start("subscribe", group=group, last=dice.randrange(50), state=False)
        new = await reader.start("subscribe", group=group, after=after, state=False)
        await reader.reply(old)
        reply = await reader.reply(new)
        assert (reply["from"], reply["recovered"]) == (after + 1, True)
        head = reply["seq"]
        count = min(head - after + 3, dice.randrange(400))  # into what is written only now
        assert await reader.seqs(count) == list(range(after + 1, after + 1 + count))
    enough.set()
    last = await writing
    assert (await reader.ask("subscribe", group=group, after=last - 1, state=False))["from"] == last
    assert await post(alice, group, "x", "y") == [last + 1, last + 2]
    assert await reader.seqs(3) == [last, last + 1, last + 2]
    reader.others = []
    assert (await reader.ask("ping"))["ok"]
    assert reader.others == []


async def test_a_refused_subscription_leaves_the_one_before(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    await begin(alice, group)
    assert (await reader.ask("subscribe", group=group))["ok"]
    for fields in (
        {"group": group, "after": -1},
        {"group": group, "after": 1, "last": 1},
        {"groups": [{"group": group}, {"group": group}]},
        {"group": group, "groups": [{"group": group}]},
        {"groups": [{"group": group, "last": 1.5}]},
        {"groups": [{"group": f"{group} {n}"} for n in range(101)]},
    ):
        reply = await reader.ask("subscribe", **fields)
        assert "results" in reply or reply["error"]["code"] == "invalid"
        assert reply.get("results", [{"ok": False}])[0]["ok"] is False
    assert await post(alice, group, "x") == [2]
    assert await reader.seqs(1) == [2]


async def test_a_batch_begins_each_group_as_it_is_asked(connect: Connect, new_group: NewGroup) -> None:
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    groups = [new_group() for _ in range(6)]
    for group in groups[:5]:
        await begin(alice, group, members=[{"user": "bob"}] if group != groups[4] else [])
        await post(alice, group, "a", "b", "c")
    asked = [
        {"group": groups[0]},
        {"group": groups[1], "after": 2},
        {"group": groups[2], "last": 3},
        {"group": groups[3], "after": 2, "log": "another"},
        {"group": groups[4], "after": 0},
        {"group": groups[5]},
        {"group": "."},
        {"group": groups[0] + "x", "last": 1, "after": 1},
    ]
    reply = await bob.ask("subscribe", groups=asked)
    assert codes(reply) == ["ok"] * 4 + ["not_a_member", "no_such_group", "invalid", "invalid"]
    assert [result["group"] for result in reply["results"]] == [item["group"] for item in asked]
    begun = [(result["seq"], result["from"], result["recovered"]) for result in reply["results"][:4]]
    assert begun == [(4, 5, True), (4, 3, True), (4, 2, True), (4, 5, False)]
    assert [result["error"].get("field") for result in reply["results"][4:]] == [None, None, "group", "last"]
    frames = [await bob.next() for _ in range(5)]
    assert sorted((frame["group"], frame["seq"]) for frame in frames) == sorted(
        [(groups[1], 3), (groups[1], 4), (groups[2], 2), (groups[2], 3), (groups[2], 4)]
    )
    assert (await bob.ask("subscribe", groups=[]))["results"] == []


async def test_leaving_and_joining_again_needs_a_subscription_again(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, join="open", members=[{"user": "bob"}])
    assert (await bob.ask("subscribe", group=group))["ok"]
    assert (await bob.ask("leave", group=group))["seq"] == 2
    assert (await bob.ask("join", group=group))["seq"] == 3
    assert await post(alice, group, "unheard") == [4]
    reply = await bob.ask("subscribe", group=group, after=2, state=False)
    assert [frame["seq"] for frame in bob.others] == [2]
    assert (reply["seq"], reply["from"]) == (4, 3)
    assert await bob.seqs(2) == [3, 4]
    assert (await bob.ask("unsubscribe", group=group))["ok"]
    assert (await bob.ask("unsubscribe", group=group))["ok"]
    assert (await bob.ask("unsubscribe", group=new_group()))["ok"]
    assert await post(alice, group, "unheard, too") == [5]
    assert [m["seq"] for m in (await bob.ask("history", group=group))["messages"]] == [4, 5]
    assert len(bob.others) == 1


async def test_what_may_not_be_read_is_withheld_in_its_place_and_does_not_count(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, history="joined")
    assert await post(alice, group, "a", "b", "c") == [2, 3, 4]
    assert (await alice.ask("add_member", group=group, user="bob"))["seq"] == 5
    assert await post(alice, group, "d") == [6]
    assert (await alice.ask("delete", group=group, seq=6))["seq"] == 7

    async def begun(count: int, **fields: Any) -> tuple[int, bool, list[Any]]:
        reply = await bob.ask("subscribe", group=group, state=False, **fields)
        frames = [await bob.next() for _ in range(count)]
        seqs = [frame["seq"] if frame["type"] == "event" else (frame["from"], frame["through"]) for frame in frames]
        return reply["from"], reply["recovered"], seqs

    assert await begun(4, after=2) == (3, True, [(3, 4), 5, 6, 7])
    assert await begun(3, after=4) == (5, True, [5, 6, 7])
    assert await begun(4, after=0) == (1, True, [(1, 4), 5, 6, 7])
    assert await begun(2, last=2) == (6, True, [6, 7])
    assert await begun(3, last=3) == (5, True, [5, 6, 7])
    again = await connect("bob", 0)
    assert (await again.ask("subscribe", group=group, last=2))["from"] == 6
    assert (await again.next())["data"] == {"text": None, "deleted": True}
    assert (await bob.ask("state", group=group, at_seq=4))["error"]["code"] == "forbidden"
    assert (await bob.ask("state", group=group, at_seq=5))["state"]["members"][1]["user"] == "bob"
    for kind, fields in (
        ("react", {"seq": 2, "emoji": "+"}),
        ("send", {"text": "x", "client_msg_id": "x", "reply_to": 4}),
    ):
        assert (await bob.ask(kind, group=group, **fields))["error"]["code"] == "no_such_message"
    assert [message["seq"] for message in (await bob.ask("history", group=group, after=1))["messages"]] == [6]


async def test_members_are_paged_while_they_come_and_go_and_who_stays_comes_once(
    connect: Connect, new_group: NewGroup
) -> None:
    group, dice = new_group(), Random(3)
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    stay = [f"stays {n}" for n in range(60)]
    members = [*stay, *(f"goes {n}" for n in range(60))]
    dice.shuffle(members)
    await begin(alice, group, members=[{"user": user} for user in members])
    goes = iter([user for user in members if user not in stay])
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await reader.ask("members", group=group, limit=7, **cursor)
        seen += [member["user"] for member in page["members"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
        gone = next(goes, None)
        if gone is not None:
            assert (await alice.ask("remove_member", group=group, user=gone))["ok"]
            if dice.random() < 0.5:  # comes again, at the end
                assert (await alice.ask("add_member", group=group, user=gone))["ok"]
    assert [user for user in seen if user in stay] == [user for user in members if user in stay]


async def test_fields_come_before_the_group_and_the_group_before_membership(
    connect: Connect, new_group: NewGroup
) -> None:
    group, none = new_group(), new_group()
    alice, carol = await connect("alice"), await connect("carol", 1)
    await begin(alice, group)
    for kind, bad in (
        ("subscribe", {"after": "1"}),
        ("subscribe", {"state": "no"}),
        ("history", {"limit": 0}),
        ("history", {"before": 3, "after": 1}),
        ("state", {"at_seq": 1.0}),
        ("members", {"cursor": "x"}),
        ("send", {"text": "", "client_msg_id": "c"}),
        ("send", {"text": "x"}),
        ("remove_member", {"user": "carol"}),
    ):
        good = (
            {"user": "bob"}
            if kind == "remove_member"
            else {"text": "x", "client_msg_id": "d"}
            if kind == "send"
            else {}
        )
        assert (await carol.ask(kind, group=none, **bad))["error"]["code"] == "invalid"
        assert (await carol.ask(kind, group=group, **bad))["error"]["code"] == "invalid"
        assert (await carol.ask(kind, group=none, **good))["error"]["code"] == "no_such_group"
        assert (await carol.ask(kind, group=group, **good))["error"]["code"] == "not_a_member"
    assert (await carol.ask("state", group=group, at_seq=99))["error"]["code"] == "not_a_member"
    assert (await alice.ask("state", group=group, at_seq=99))["error"]["code"] == "invalid"
