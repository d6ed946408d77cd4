"""Who misses a message, as an owner tells bridges."""

from app.domain.commands import AddMember
from app.presence import Change, Report
from app.reads import Audience, ReadAudience
from tests.unit.agents.owner import Owner, by

ASKED = ReadAudience(group="g", user=None, end=0)


def comes(owner: Owner, *users: str) -> None:
    changes = [Change("g", user, True) for user in users]
    assert owner.presence.report("gateway", Report(partition=0, since=0, number=1, changes=changes), 0.0) == "ok"


async def test_those_offline_are_named_two_at_most_and_the_group_with_them(owner: Owner) -> None:
    owner.ask(AddMember(**by("ann"), user="cid"))
    comes(owner, "bob")
    assert (await owner.read(ASKED)).audience == Audience("first", 3, ["ann", "cid"])

    owner.ask(AddMember(**by("ann"), user="dan"))
    assert (await owner.read(ASKED)).audience == Audience("first", 4, ["ann", "cid"])


async def test_where_all_are_online_nobody_is_named(owner: Owner) -> None:
    comes(owner, "ann", "bob")
    assert (await owner.read(ASKED)).audience == Audience("first", 2, [])


async def test_a_group_that_is_not_there_has_no_audience(owner: Owner) -> None:
    answer = await owner.read(ReadAudience(group="none", user=None, end=0))
    assert answer.audience is None
    assert answer.missing is None
