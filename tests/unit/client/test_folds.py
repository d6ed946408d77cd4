"""The folds behind a conversation, alone: pages and events in any order end as the log is."""

import random
from typing import Any

import msgspec
import pytest
from auerbach_client import Event, GroupState, HistoryItem, Member, Message
from auerbach_client.standing import Standing
from auerbach_client.timeline import Timeline

AT = "2026-11-25T01:20:00.123Z"


def event(seq: int, kind: str, by: str = "bob", **data: Any) -> Event:
    return Event("g", seq, f"e{seq}", kind, by, AT, None, data, b"")


def item(seq: int, **fields: Any) -> HistoryItem:
    return HistoryItem(seq=seq, id=f"e{seq}", by="bob", at=AT, **{"text": f"m{seq}", **fields})


def page(timeline: Timeline, *items: HistoryItem, more: bool = False) -> None:
    timeline.expect()
    assert timeline.merge(items, more=more)


def seqs(timeline: Timeline) -> list[int | None]:
    return [message.seq for message in timeline.messages]


def test_what_a_page_and_the_run_both_bring_is_held_once() -> None:
    timeline = Timeline("alice", 10)
    timeline.apply(event(3, "message.posted", text="m3"))

    page(timeline, item(2), item(3), item(4))
    timeline.apply(event(4, "message.posted", text="m4"))

    assert seqs(timeline) == [2, 3, 4]


def test_a_full_timeline_drops_the_oldest_and_asks_for_them_again() -> None:
    timeline = Timeline("alice", 3)
    page(timeline, item(2), item(3), more=False)

    for seq in (4, 5):
        timeline.apply(event(seq, "message.posted", text="x"))

    assert (seqs(timeline), timeline.floor, timeline.more, timeline.room) == ([3, 4, 5], 3, True, 0)


def test_an_acknowledgement_below_what_is_held_leaves_no_hole() -> None:
    timeline = Timeline("alice", 10)
    page(timeline, item(8), item(9), more=True)
    echo = Message("alice", "again", "c")
    timeline.echo(echo)
    echo.status = type(echo.status).PENDING

    timeline.acknowledged(echo, 4, AT)

    assert seqs(timeline) == [8, 9]


def test_a_deleted_message_stays_deleted_whatever_is_applied_again() -> None:
    timeline = Timeline("alice", 10)
    page(timeline, item(2, text=None, deleted=True))

    timeline.apply(event(3, "message.edited", target=2, text="old"))
    timeline.apply(event(4, "reaction.added", target=2, emoji="👍"))

    [message] = timeline.messages
    assert (message.text, message.reactions, message.deleted) == (None, {}, True)


def test_reactions_applied_again_end_in_the_order_of_the_log() -> None:
    timeline = Timeline("alice", 10)
    page(timeline, item(2, reactions={"👍": ("alice", "bob")}))

    for seq, kind, by in ((6, "removed", "alice"), (7, "added", "alice"), (8, "added", "bob")):
        timeline.apply(event(seq, f"reaction.{kind}", by, target=2, emoji="👍"))

    assert timeline.messages[0].reactions == {"👍": ["alice", "bob"]}


def test_a_page_that_too_much_has_overtaken_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auerbach_client.timeline._MISSED", 2)
    timeline = Timeline("alice", 10)
    timeline.expect()
    for seq in (5, 6, 7):
        timeline.apply(event(seq, "reaction.added", target=2, emoji=str(seq)))

    assert not timeline.merge([item(2)], more=False)


def test_what_is_pruned_is_dropped() -> None:
    timeline = Timeline("alice", 10)
    page(timeline, item(2), item(3), item(4))

    timeline.apply(event(5, "history.pruned", through=3))

    assert seqs(timeline) == [4]


@pytest.mark.parametrize("seed", range(50))
def test_pages_that_know_more_or_less_than_the_run_end_as_the_log(seed: int) -> None:
    chance = random.Random(seed)
    log = [event(seq, "message.posted", text=f"m{seq}") for seq in range(1, 6)]
    for seq in range(6, 40):
        kind = chance.choice(["reaction.added", "reaction.removed", "message.edited"])
        data = {"text": f"t{seq}"} if kind == "message.edited" else {"emoji": "👍"}
        log.append(event(seq, kind, chance.choice("abc"), target=chance.randint(1, 5), **data))
    asked, answered = sorted(chance.choices(range(5, 40), k=2))
    known = chance.randint(asked, 39)  # the page is as of any instant behind its request

    timeline = Timeline("z", 100)
    for each in log[5:asked]:
        timeline.apply(each)
    timeline.expect()
    for each in log[asked:answered]:
        timeline.apply(each)
    assert timeline.merge(items_of(log[:known]), more=False)
    for each in log[answered:]:
        timeline.apply(each)

    assert [shown(message) for message in timeline.messages] == [
        shown(Message.of_item(each)) for each in items_of(log)
    ], f"seed {seed}"


def items_of(log: list[Event]) -> list[HistoryItem]:
    """A history as the log has it, by a fold of its own."""
    items: dict[int, dict[str, Any]] = {}
    for each in log:
        target = items.get(each.data.get("target", 0), {})
        users = target.get("reactions", {}).setdefault("👍", []) if target else []
        if each.kind == "message.posted":
            items[each.seq] = {"seq": each.seq, "id": each.id, "by": each.by, "at": AT, "reactions": {}, **each.data}
        elif each.kind == "message.edited":
            target |= {"text": each.data["text"], "edited_at": each.at}
        elif each.kind == "reaction.added" and each.by not in users:
            users.append(each.by)
        elif each.kind == "reaction.removed" and each.by in users:
            users.remove(each.by)
    return [msgspec.convert(found, HistoryItem) for found in items.values()]


def shown(message: Message) -> tuple[Any, ...]:
    # The service writes no event for a reaction that is there, so the order of those who react twice is not its own.
    return message.seq, message.text, message.edited_at, {e: sorted(u) for e, u in message.reactions.items() if u}


def test_a_state_is_not_told_its_own_events_again() -> None:
    standing = Standing()
    standing.begin(GroupState(name="new", seq=9, members=(Member(user="a", role="owner"),)))

    standing.apply(event(8, "member.joined", user="gone", role="member"))
    standing.apply(event(9, "group.updated", name="old"))
    standing.apply(event(10, "group.updated", topic="t"))

    assert (standing.name, standing.topic, standing.members, standing.seq) == ("new", "t", {"a": "owner"}, 10)


def test_members_and_roles_follow_every_kind_of_event() -> None:
    standing = Standing()
    members = [{"user": "a", "role": "owner"}, {"user": "b", "role": "member"}]
    standing.apply(event(1, "group.created", name="G", topic="", join="open", history="all", members=members))
    standing.apply(event(2, "member.joined", user="c", role="reader"))
    standing.apply(event(3, "member.role_changed", user="b", role="owner", **{"from": "a"}))
    transferred = dict(standing.members)
    standing.apply(event(4, "member.left", user="c"))
    standing.apply(event(5, "member.removed", user="b", banned=True, owner="a"))
    standing.apply(event(6, "member.removed", user="never", banned=True))
    standing.apply(event(7, "poll.opened", user="a"))

    assert transferred == {"a": "admin", "b": "owner", "c": "reader"}
    assert (standing.members, standing.seq) == ({"a": "owner"}, 7)
