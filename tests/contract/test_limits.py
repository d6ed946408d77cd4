"""Limits at their edges, and that what is within them is kept byte for byte, asked of real gateways."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.contract.client import Client
from tests.contract.conftest import Connect

NewGroup = Callable[[], str]

TEXTS = [
    "a\u0301 and \u00e1",  # NFD and NFC: neither becomes the other
    "a/b/../c%2Fd%00?x#y",
    "👩\u200d👩\u200d👧 \U0001f3f3\ufe0f\u200d\U0001f308",
    "\u202egpj.exe\u202c \u2066x\u2069",
    "\ufeffbom\ufeff",
    "zero\u200bwidth\u2060joined",
    "line\u2028paragraph\u2029next\u0085",
    "\t\r\n\x01\x1b[31m\x7f\x9f",
    ' "quotes" \\ \\u0000 </script>\'; -- ',
    "\U0010ffff\ufffe\uffff\ue000",
    "שלום مرحبا",
    " ",
]
IDS = [
    "a/b",
    "100%",
    "%2F",
    "?x=1&y#z",
    "é",
    "e\u0301",
    "🎉" * 32,
    "a b",
    '"\\',
    "\u202eb",
    "\u200b",
    "A",
    "...",
    "a+b",
]


async def begin(client: Client, group: str, **fields: Any) -> None:
    reply = await client.ask("create_group", group=group, name="G", **fields)
    assert reply["ok"], reply


async def whole_history(client: Client, group: str, limit: int = 200) -> list[dict[str, Any]]:
    """All messages, from the newest page back."""
    pages: list[list[dict[str, Any]]] = []
    before: dict[str, int] = {}
    while True:
        page = await client.ask("history", group=group, limit=limit, **before)
        pages.insert(0, page["messages"])
        if not page["more"]:
            return [message for page in pages for message in page]
        before = {"before": page["messages"][0]["seq"]}


async def test_text_is_kept_byte_for_byte_live_in_replays_and_in_history(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, bob = await connect("alice", 0), await connect("bob", 1)
    await begin(alice, group, members=[{"user": "bob"}])
    assert (await bob.ask("subscribe", group=group))["ok"]
    for i, text in enumerate(TEXTS):
        # Escaped as much as JSON allows, or not at all: it is the same text.
        fields = {
            "type": "send",
            "id": i,
            "group": group,
            "client_msg_id": text[:9],
            "text": text,
            "attributes": {text: [text]},
        }
        await alice.send(json.dumps(fields, ensure_ascii=i % 2 == 0))
    assert [(await alice.reply(i))["ok"] for i in range(len(TEXTS))] == [True] * len(TEXTS)

    live = [await bob.next() for _ in TEXTS]
    again = await connect("bob", 0)
    assert (await again.ask("subscribe", group=group, after=1, state=False))["ok"]
    replayed = [await again.next() for _ in TEXTS]
    kept = await whole_history(again, group)

    for seen in ([frame["data"] for frame in live], [frame["data"] for frame in replayed], kept):
        assert [item["text"] for item in seen] == TEXTS
        assert [item["attributes"] for item in seen] == [{text: [text]} for text in TEXTS]
    assert live == replayed
    assert [item["client_msg_id"] for item in kept] == [text[:9] for text in TEXTS]


async def test_ids_are_opaque_and_compared_byte_for_byte(connect: Connect, new_group: NewGroup) -> None:
    prefix = new_group()
    for at, user in enumerate(IDS):
        group = f"{prefix}{user}"[-128:] if len(user.encode()) < 100 else user
        owner = await connect(quote(user, safe=""), at % 2)
        await begin(owner, group, members=[{"user": "bob"}])
        reply = await owner.ask("subscribe", group=group, after=0)
        assert (reply["group"], [m["user"] for m in reply["state"]["members"]]) == (group, [user, "bob"])
        event = await owner.next()
        assert (event["group"], event["by"], event["data"]["members"][0]["user"]) == (group, user, user)
        assert (await owner.ask("react", group=group, seq=1, emoji=user[:4]))["error"]["code"] == "no_such_message"
        other = await connect(quote(IDS[at - 1], safe=""), 1)
        assert (await other.ask("state", group=group))["error"]["code"] == "not_a_member"


async def test_numbers_and_depths_of_attributes_are_kept(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    await begin(alice, group)
    deep = "[" * 62 + "]" * 62  # with the request and the attributes: 64 levels
    written = f'{{"n":[1,-1,{10**30},{10**308},9007199254740993,0.1,1e308,5e-324,-0.0],"deep":{deep},"n2":{{"":null}}}}'
    fields = f'"group":"{group}","text":"x","client_msg_id":"c","attributes":'
    await alice.send(f'{{"type":"send","id":1,{fields}{written}}}')
    assert (await alice.reply(1))["seq"] == 2
    [message] = await whole_history(reader, group)
    assert repr(message["attributes"]) == repr(json.loads(written))
    await reader.send(f'{{"type":"send","id":1,{fields}{written}}}')
    assert (await reader.reply(1))["duplicate"]
    for beyond in (written.replace(deep, f"[{deep}]"), '{"n":1e309}', f'{{"n":{10**309}}}', f'{{"n":{10**4_000}}}'):
        await alice.send(f'{{"type":"send","id":2,{fields}{beyond}}}')
        assert (await alice.reply(2))["error"]["field"] == "attributes"


def attributes_of(size: int) -> dict[str, Any]:
    """Attributes of so many bytes as compact JSON, some of them in characters of two and four bytes."""
    return {"é🎉": "x" * (size - len('{"é🎉":""}'.encode()))}


# What is within a limit by a byte, what is beyond it by one, and the code of that.
EDGES: list[tuple[str, str, Any, Any, str]] = [
    ("send", "text", "x" * 16_384, "x" * 16_385, "too_large"),
    ("send", "text", "é" * 8_192, "é" * 8_192 + "x", "too_large"),
    ("send", "text", "🎉" * 4_096, "🎉" * 4_095 + "é" * 2 + "x", "too_large"),
    ("send", "text", "x", "", "invalid"),
    ("edit", "text", "é" * 8_192, "é" * 8_193, "too_large"),
    ("send", "attributes", attributes_of(4_096), attributes_of(4_097), "too_large"),
    ("send", "client_msg_id", "é" * 32, "é" * 32 + "x", "invalid"),
    ("send", "client_msg_id", "x", "", "invalid"),
    ("send", "mentions", [f"u{n}" for n in range(100)], [f"u{n}" for n in range(101)], "invalid"),
    ("send", "mentions", ["x" * 128], ["x" * 129], "invalid"),
    ("send", "reply_to", 2, 2**53, "invalid"),
    ("update_group", "name", "é" * 128, "é" * 128 + "x", "invalid"),
    ("update_group", "name", "x", "", "invalid"),
    ("update_group", "topic", "🎉" * 256, "🎉" * 256 + "x", "invalid"),
    ("react", "emoji", "🎉" * 16, "🎉" * 16 + "x", "invalid"),
    ("react", "emoji", "x", "", "invalid"),
    ("add_member", "user", "é" * 64, "é" * 64 + "x", "invalid"),
    ("add_member", "user", "x", "", "invalid"),
    ("add_member", "user", "x.", "..", "invalid"),
    ("add_member", "user", "x\u00a0y", "xy\u00a0", "invalid"),
    ("add_member", "user", "\u200b", "\u0085x", "invalid"),
    ("create_group", "name", "x" * 256, "x" * 257, "invalid"),
    ("create_group", "topic", "", "x" * 1_025, "invalid"),
    ("create_group", "members", [{"user": "x" * 128}], [{"user": "x" * 129}], "invalid"),
    ("history", "limit", 200, 201, "invalid"),
    ("history", "limit", 1, 0, "invalid"),
    ("history", "before", 2**53 - 1, 2**53, "invalid"),
    ("members", "limit", 1_000, 1_001, "invalid"),
    ("members", "limit", 1, 0, "invalid"),
    ("members", "cursor", "0.0", "0.", "invalid"),
    ("subscribe", "after", 2**53 - 1, 2**53, "invalid"),
    ("subscribe", "last", 2**53 - 1, -1, "invalid"),
    ("state", "at_seq", 1, 2**53, "invalid"),
]
OTHERS: dict[str, dict[str, Any]] = {
    "send": {"text": "x"},
    "edit": {"seq": 2},
    "react": {"seq": 2},
    "create_group": {"name": "G"},
}


async def test_each_limit_is_taken_and_one_step_more_is_refused_by_its_field(
    connect: Connect, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await connect("alice")
    await begin(alice, group)
    assert (await alice.ask("send", group=group, text="first", client_msg_id="first"))["seq"] == 2
    for at, (kind, field, within, beyond, code) in enumerate(EDGES):
        fields = {"group": new_group() if kind == "create_group" else group, **OTHERS.get(kind, {})}
        refused = await alice.ask(kind, **fields | {"client_msg_id": f"b{at}"} | {field: beyond})
        taken = await alice.ask(kind, **fields | {"client_msg_id": f"w{at}"} | {field: within})
        assert taken["ok"], (kind, field, taken)
        error = refused["error"]
        assert (error["code"], error["field"], error["temporary"]) == (code, field, False), (kind, field)
        assert error["message"].startswith(field)


async def test_a_group_may_be_named_by_128_bytes_and_by_none_more(connect: Connect, new_group: NewGroup) -> None:
    alice = await connect("alice")
    name = new_group()
    longest = name + "é" * ((128 - len(name)) // 2) + "x" * ((128 - len(name)) % 2)
    assert len(longest.encode()) == 128
    await begin(alice, longest)
    assert (await alice.ask("state", group=longest))["state"]["seq"] == 1
    for kind, bad in (
        ("create_group", longest + "x"),
        ("state", longest + "x"),
        ("subscribe", "."),
        ("join", "a\u0085"),
    ):
        refused = await alice.ask(kind, group=bad, name="G")
        assert (refused["error"]["code"], refused["error"]["field"]) == ("invalid", "group")


# A place for a text, as the JSON of a frame around it, and the field that is at fault when it is none.
PLACES = [
    ('{"type":"send","id":7,"group":"%s","text":"x","client_msg_id":"c"}', "group"),
    ('{"type":"send","id":7,"group":"g","text":"x%s","client_msg_id":"c"}', "text"),
    ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"%s"}', "client_msg_id"),
    ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","mentions":["bob","%s"]}', "mentions"),
    ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","attributes":{"%s":1}}', "attributes"),
    ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","attributes":{"a":[{"b":"%s"}]}}', "attributes"),
    ('{"type":"send","id":7,"group":"g","text":"x","client_msg_id":"c","attributes":{"a":{"%s":[]}}}', "attributes"),
    ('{"type":"create_group","id":7,"group":"g","name":"%s"}', "name"),
    ('{"type":"create_group","id":7,"group":"g","name":"G","topic":"%s"}', "topic"),
    ('{"type":"create_group","id":7,"group":"g","name":"G","members":[{"user":"%s"}]}', "members"),
    ('{"type":"react","id":7,"group":"g","seq":1,"emoji":"%s"}', "emoji"),
    ('{"type":"add_member","id":7,"group":"g","user":"%s"}', "user"),
    ('{"type":"subscribe","id":7,"group":"g","after":1,"log":"%s"}', "log"),
    ('{"type":"subscribe","id":7,"groups":[{"group":"%s"}]}', "groups"),
    ('{"type":"members","id":7,"group":"g","cursor":"%s"}', "cursor"),
    ('{"type":"ping","id":7,"unknown":{"a":"%s"}}', "unknown"),
]


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\udc00\\ud83d", "a\\udfffb"])
async def test_a_text_that_is_none_is_invalid_wherever_it_stands(connect: Connect, text: str) -> None:
    alice = await connect("alice")
    for frame, field in PLACES:
        await alice.send(frame.replace("%s", text))
        reply = await alice.reply(7)
        assert (reply["error"]["code"], reply["error"]["field"]) == ("invalid", field)


async def test_no_answer_exceeds_a_mebibyte(connect: Connect, new_group: NewGroup) -> None:
    """The client here refuses a longer frame. A page holds less than was asked for, says so, and nothing is lost."""
    group = new_group()
    alice, reader = await connect("alice", 0), await connect("alice", 1)
    users = [f"{n:04}" + '"' * 124 for n in range(1_100)]  # each quote is two bytes in JSON
    await begin(alice, group, topic="\x01" * 1_024, members=[{"user": user} for user in users[:200]])
    await alice.ask("update_group", group=group, name="\x02" * 256)
    numbers = [await alice.start("add_member", group=group, user=user) for user in users[200:]]
    assert [(await alice.reply(number))["ok"] for number in numbers] == [True] * 900
    texts = [f"{n:03}" + "\x03" * 9_000 for n in range(40)]  # each of these is six
    mentions = users[:30]
    numbers = [
        await alice.start("send", group=group, text=text, client_msg_id=text[:3], mentions=mentions) for text in texts
    ]
    assert [(await alice.reply(number))["ok"] for number in numbers] == [True] * len(texts)

    state = (await reader.ask("state", group=group))["state"]
    assert ([m["user"] for m in state["members"]], state["members_more"]) == (["alice", *users[:999]], True)
    assert "members_more" not in (await reader.ask("state", group=group, at_seq=2))["state"]
    first = await reader.ask("members", group=group)
    second = await alice.ask("members", group=group, cursor=first["cursor"])
    assert [m["user"] for m in first["members"] + second["members"]] == ["alice", *users]
    assert "cursor" not in second

    page = await reader.ask("history", group=group, limit=200)
    assert page["more"]
    assert 0 < len(page["messages"]) < len(texts)
    assert [m["text"] for m in await whole_history(reader, group)] == texts
    begun = await reader.ask("subscribe", group=group, last=len(texts))
    assert begun["state"] == {**state, "online": begun["state"]["online"]}
    assert [(await reader.next())["data"]["text"] for _ in texts] == texts


async def test_as_many_members_as_the_frame_holds(connect: Connect, new_group: NewGroup) -> None:
    group = new_group()
    alice = await connect("alice")
    fields = {"type": "create_group", "id": 1, "group": group, "name": "G"}
    frame = msgspec.json.encode(fields | {"members": [{"user": f"{n:x}"} for n in range(4_200)]})
    assert 60_000 < len(frame) <= 65_536
    await alice.send(frame.decode())
    assert (await alice.reply(1))["seq"] == 1
    seen, cursor = [], {}
    while True:
        page = await alice.ask("members", group=group, **cursor)
        seen += [member["user"] for member in page["members"]]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == ["alice", *(f"{n:x}" for n in range(4_200))]
