"""Who may hold a socket of the replaced service, and who else is told (protocol §8), at real gateways."""

import pytest

from tests.contract.legacy.doors import Enter, NewGroup, Open, begin, post
from tests.support.old_app import JOINED, LEFT


@pytest.mark.parametrize("gateway", [0, 1])
async def test_who_is_no_member_is_accepted_and_closed_with_1008(
    gateway: int, enter: Enter, connect: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "mallory")
    assert (await alice.ask("remove_member", group=group, user="mallory", ban=True))["ok"]
    for name, user in ((group, "eve"), (group, "mallory"), (new_group(), "alice")):
        app = await connect(name, user, gateway)
        assert await app.closed() == 1008
        assert app.seen == []
    assert (await alice.ask("subscribe", group=new_group()))["error"]["code"] == "no_such_group"


async def test_the_removed_get_what_came_before_and_1008_and_so_do_all_when_the_group_ends(
    enter: Enter, member: Open, new_group: NewGroup
) -> None:
    group = new_group()
    alice = await enter("alice")
    await begin(alice, group, "bob", "carol")
    bob, carol = await member(group, "bob", 0), await member(group, "carol", 1)
    await post(alice, group, "before")
    assert (await alice.ask("remove_member", group=group, user="bob"))["ok"]
    await post(alice, group, "after")
    assert await bob.closed() == 1008
    assert [told[1] for told in bob.seen if len(told) == 3] == ["before"]
    assert bob.seen[-1] == ("bob", LEFT)
    assert [await carol.text(), await carol.text()] == ["before", "after"]
    assert ("bob", LEFT) in carol.seen
    assert (await alice.ask("add_member", group=group, user="bob"))["ok"]
    await carol.about("bob", JOINED)
    assert (await alice.ask("delete_group", group=group))["ok"]
    assert await carol.closed() == 1008


async def test_joining_and_leaving_are_told_about_the_member(enter: Enter, member: Open, new_group: NewGroup) -> None:
    group = new_group()
    alice, dave = await enter("alice"), await enter("dave", 1)
    await begin(alice, group)
    app = await member(group, "alice", 1)
    assert (await alice.ask("add_member", group=group, user="dave"))["ok"]
    assert (await dave.ask("leave", group=group))["ok"]
    assert (await alice.ask("update_group", group=group, name="H"))["ok"]
    assert [await app.next(), await app.next()] == [("dave", JOINED), ("dave", LEFT)]
    await app.say("x")
    assert (await app.next())[:2] == ("alice", "x")
