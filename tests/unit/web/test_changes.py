"""Requests that change a group after its beginning, over a real connection: replies, repetitions, the group's end."""

from typing import Any

import pytest

from app.domain.commands import COMMANDS
from tests.contract.client import Client
from tests.unit.web.world import Gateway, World


async def begin(gateway: Gateway) -> Client:
    """A group of alice's: bob is a member, carol is banned, message 3 has a reaction of hers; the next seq is 5."""
    alice = await gateway.client("alice")
    await alice.ask("create_group", group="g", name="G", members=[{"user": "bob"}])
    await alice.ask("remove_member", group="g", user="carol", ban=True)
    await alice.ask("send", group="g", text="hi", client_msg_id="first")
    assert (await alice.ask("react", group="g", seq=3, emoji="👍"))["seq"] == 4
    return alice


# Each request that changes a group, and one of its type that changes nothing (where there is such a thing).
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("update_group", {"topic": "news"}, {"name": "G", "topic": ""}),
    ("delete_group", {}, None),
    ("add_member", {"user": "dave"}, None),
    ("remove_member", {"user": "bob"}, {"user": "carol", "ban": True}),
    ("unban", {"user": "carol"}, {"user": "bob"}),
    ("set_role", {"user": "bob", "role": "owner"}, {"user": "bob", "role": "member"}),
    ("send", {"text": "x"}, None),
    ("edit", {"seq": 3, "text": "hi!"}, None),
    ("delete", {"seq": 3}, None),
    ("react", {"seq": 3, "emoji": "🎉"}, {"seq": 3, "emoji": "👍"}),
    ("unreact", {"seq": 3, "emoji": "👍"}, {"seq": 3, "emoji": "🎉"}),
]


def test_every_change_is_here_or_tested_elsewhere() -> None:
    assert {kind for kind, _, _ in CHANGES} | {"create_group", "join", "leave"} == set(COMMANDS)


@pytest.mark.parametrize(("kind", "fields", "_"), CHANGES, ids=lambda each: each if isinstance(each, str) else "")
async def test_a_change_is_told_by_its_seq_and_its_repetition_by_the_same(
    gateway: Gateway, kind: str, fields: dict[str, Any], _: Any
) -> None:
    alice = await begin(gateway)
    first = await alice.ask(kind, group="g", client_msg_id="c", **fields)
    again = await alice.ask(kind, group="g", client_msg_id="c", **fields)
    assert (first["ok"], first["seq"], first.get("duplicate", False)) == (True, 5, False)
    assert (again["ok"], again["seq"], again["duplicate"]) == (True, 5, True)


@pytest.mark.parametrize(("kind", "fields", "_"), CHANGES, ids=lambda each: each if isinstance(each, str) else "")
async def test_a_key_used_for_something_else_is_a_conflict(
    gateway: Gateway, kind: str, fields: dict[str, Any], _: Any
) -> None:
    alice = await begin(gateway)
    refused = await alice.ask(kind, group="g", client_msg_id="first", **fields)
    assert refused["error"]["code"] == "conflict"


@pytest.mark.parametrize(
    ("kind", "fields"), [(kind, nothing) for kind, _, nothing in CHANGES if nothing is not None], ids=str
)
async def test_what_changes_nothing_is_ok_without_a_seq(gateway: Gateway, kind: str, fields: dict[str, Any]) -> None:
    alice = await begin(gateway)
    reply = await alice.ask(kind, group="g", client_msg_id="c", **fields)
    assert (reply["ok"], "seq" in reply, "duplicate" in reply) == (True, False, False)
    assert (await alice.ask("send", group="g", text="x", client_msg_id="next"))["seq"] == 5


async def test_the_end_of_a_group_is_the_last_frame_of_each_subscription_to_it(gateway: Gateway, world: World) -> None:
    alice = await begin(gateway)
    sockets = [alice, await gateway.client("alice"), await gateway.client("bob")]
    for socket in sockets:
        assert (await socket.ask("subscribe", group="g"))["ok"]

    assert (await alice.ask("delete_group", group="g"))["seq"] == 5
    assert (await alice.ask("create_group", group="g", name="H", members=[{"user": "bob"}]))["seq"] == 6
    assert (await alice.ask("send", group="g", text="new", client_msg_id="n"))["seq"] == 7

    for socket in sockets:
        assert (await socket.ask("ping"))["ok"]
        assert [(frame["seq"], frame["kind"]) for frame in socket.others] == [(5, "group.deleted")]
    assert not world.hub.follows(b"g")


async def test_who_subscribes_again_gets_the_next_life_and_only_that(gateway: Gateway) -> None:
    alice = await begin(gateway)
    await alice.ask("subscribe", group="g")
    await alice.ask("delete_group", group="g")
    assert (await alice.ask("subscribe", group="g"))["error"]["code"] == "no_such_group"
    await alice.ask("create_group", group="g", name="H")
    assert (await alice.ask("subscribe", group="g"))["seq"] == 6
    await alice.ask("send", group="g", text="new", client_msg_id="n")
    assert (await alice.ask("ping"))["ok"]  # an event may come before the reply to what became it, or after
    assert [frame["seq"] for frame in alice.others] == [5, 7]


async def test_the_state_of_an_earlier_seq_is_what_the_owner_says_of_it(gateway: Gateway) -> None:
    alice = await begin(gateway)
    await alice.ask("update_group", group="g", name="H", topic="news")
    now = (await alice.ask("state", group="g"))["state"]
    then = (await alice.ask("state", group="g", at_seq=4))["state"]
    assert (now["name"], now["topic"], now["seq"]) == ("H", "news", 5)
    assert (then["name"], then["topic"], then["seq"]) == ("G", "", 4)
    assert "online" not in then
    assert then["members"] == [{"user": "alice", "role": "owner"}, {"user": "bob", "role": "member"}]


async def test_members_come_page_by_page(gateway: Gateway) -> None:
    alice = await begin(gateway)
    first = await alice.ask("members", group="g", limit=1)
    rest = await alice.ask("members", group="g", limit=1, cursor=first["cursor"])
    assert [member["user"] for member in (*first["members"], *rest["members"])] == ["alice", "bob"]
    assert "cursor" not in rest
