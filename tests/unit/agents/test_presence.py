"""Who is online, as a group's owner knows it: soft state that gateways tell, on a clock that the tests move."""

import itertools

from agents.announcements import LARGE_S, MERGE_S, ROUNDS
from agents.presence import PartitionPresence
from app.presence import HEARTBEAT_S, LARGE, LATELY_S, LEASE_S, NAMES, Announcement, Change, Report, Word


class Owner:
    """An owner's presence, gateways that number their reports, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.presence = PartitionPresence(self.now)
        self.numbers: dict[str, int] = {}
        self.told_at: list[float] = []

    def tell(self, gateway: str, *changes: Change, afresh: bool = False, last: bool = True) -> Word:
        """A report that builds on the one before, or begins the whole state."""
        since = 0 if afresh else self.numbers.get(gateway, 0)
        number = self.numbers[gateway] = self.numbers.get(gateway, 0) + 1
        return self.send(gateway, since, number, *changes, last=last)

    def send(self, gateway: str, since: int, number: int, *changes: Change, last: bool = True) -> Word:
        report = Report(partition=0, since=since, number=number, last=last, changes=list(changes))
        return self.presence.report(gateway, report, self.now)

    def after(self, seconds: float) -> list[Announcement]:
        """What is announced within so many seconds, in which a worker looks twenty times each."""
        told: list[Announcement] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.05)
            self.presence.sweep(self.now)
            due = self.presence.due(self.now)
            self.told_at += [self.now] * len(due)
            told += due
        return told

    def least_gap(self) -> float:
        """The shortest time between two announcements."""
        return min(later - earlier for earlier, later in itertools.pairwise(self.told_at))

    def hears(self, seconds: float, *gateways: str) -> list[Announcement]:
        """As `after`, while these gateways show life."""
        told: list[Announcement] = []
        end = self.now + seconds
        while self.now < end:
            for gateway in gateways:
                assert self.tell(gateway) == "ok"
            told += self.after(min(HEARTBEAT_S, end - self.now))
        return told

    def online(self, group: str = "g") -> set[str]:
        return set(self.presence.online(group))


def on(user: str, channel: str | None = None, group: str = "g") -> Change:
    return Change(group, user, online=True, channel=channel)


def off(user: str, group: str = "g") -> Change:
    return Change(group, user, online=False)


def many(count: int, start: int = 0) -> list[Change]:
    return [on(f"u{i}") for i in range(start, start + count)]


def names(told: list[Announcement]) -> list[tuple[list[str], list[str]]]:
    return [(sorted(each.joined), sorted(each.left)) for each in told]


def test_who_comes_and_goes_is_announced_once_each() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    assert names(owner.after(1)) == [(["ann"], [])]
    owner.tell("a", off("ann"))
    assert names(owner.after(1)) == [([], ["ann"])]
    assert owner.online() == set()


def test_what_changes_within_a_moment_is_one_announcement() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.tell("b", on("bob"))
    assert names(owner.after(MERGE_S + 0.1)) == [(["ann", "bob"], [])]


def test_what_changes_back_within_a_moment_is_not_announced() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.after(1)
    owner.tell("a", off("ann"))
    owner.tell("b", on("ann"))
    assert owner.after(1) == []


def test_what_an_answer_has_shown_is_announced_though_it_changes_back() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    assert set(owner.presence.show("g")) == {"ann"}
    owner.tell("a", off("ann"))
    assert names(owner.after(1)) == [(["ann"], []), ([], ["ann"])]


def test_who_comes_and_is_gone_within_a_moment_is_announced_as_both_in_their_order() -> None:
    owner = Owner()
    owner.tell("a", on("bob"))
    owner.tell("a", on("ann", "one"), off("ann"))
    owner.tell("b", on("cid"))
    told = owner.after(1)
    assert names(told) == [(["ann", "bob"], []), (["cid"], ["ann"])]
    assert [each.again for each in told] == [[("ann", "one")], []]


def test_who_goes_and_is_back_within_a_moment_was_never_away_but_the_channels_are_all_told() -> None:
    owner = Owner()
    owner.tell("a", on("ann", "one"), off("ann"), on("ann", "two"), off("ann"))
    told = owner.after(1)
    assert names(told) == [(["ann"], []), ([], []), ([], ["ann"])]
    assert [each.again for each in told] == [[("ann", "one")], [("ann", "two")], []]


def test_a_further_channel_that_is_gone_with_its_user_within_a_moment_is_announced_before_the_end() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.after(1)
    owner.tell("a", on("ann", "one"), off("ann"))
    first, second = owner.after(1)
    assert (first.joined, first.left, first.again) == ([], [], [("ann", "one")])
    assert (second.joined, second.left, second.again) == ([], ["ann"], [])


def test_who_comes_and_is_gone_in_a_large_group_is_not_announced() -> None:
    owner = Owner()
    owner.tell("a", *many(LARGE + 1))
    owner.after(2)
    owner.tell("a", on("ann", "one"), off("ann"))
    assert owner.after(2) == []


def test_who_comes_and_goes_without_end_is_announced_a_bounded_number_of_times() -> None:
    owner = Owner()
    for _ in range(100):
        owner.tell("a", on("ann", "one"), off("ann"))
    owner.tell("a", on("ann", "last"))
    told = owner.after(1)
    assert len(told) <= ROUNDS
    assert [*told[-1].joined, *told[-1].again][-1] == ("ann", "last")


def test_a_user_on_two_gateways_is_online_until_the_last_one_says_otherwise() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.tell("b", on("ann"))
    owner.after(1)
    owner.tell("a", off("ann"))
    assert owner.after(1) == []
    owner.tell("b", off("ann"))
    assert names(owner.after(1)) == [([], ["ann"])]


def test_a_gateway_that_falls_silent_loses_its_users_when_its_lease_ends() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.tell("b", on("bob"))
    owner.after(1)
    told = owner.hears(LEASE_S + 1, "b")
    assert names(told) == [([], ["ann"])]
    assert owner.online() == {"bob"}


def test_a_gateway_that_shows_life_keeps_its_users() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.after(1)
    assert owner.hears(5 * LEASE_S, "a") == []
    assert owner.online() == {"ann"}


def test_a_pause_of_the_owner_ends_no_lease() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.after(HEARTBEAT_S)
    owner.now += 10 * LEASE_S
    assert owner.after(1) == []
    assert owner.online() == {"ann"}
    assert names(owner.after(LEASE_S)) == [([], ["ann"])]


def test_the_same_report_twice_has_one_effect_and_the_same_answer() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    assert owner.send("a", 1, 2, off("ann")) == "ok"
    assert owner.send("a", 1, 2, off("ann")) == "ok"
    assert owner.send("a", 2, 3, on("ann")) == "ok"
    assert owner.online() == {"ann"}


def test_a_late_report_undoes_nothing_that_is_newer() -> None:
    owner = Owner()
    owner.send("a", 0, 1, on("ann"))
    owner.send("a", 1, 2, off("ann"))
    owner.send("a", 2, 3, on("ann"))
    assert owner.send("a", 1, 2, off("ann")) == "again"
    assert owner.send("a", 0, 1) == "again"
    assert owner.online() == {"ann"}


def test_a_report_that_builds_on_one_that_was_never_heard_is_asked_for_again() -> None:
    owner = Owner()
    owner.send("a", 0, 1, on("ann"))
    assert owner.send("a", 2, 3, on("bob")) == "again"
    assert owner.online() == {"ann"}


def test_a_gateway_that_this_owner_does_not_know_is_asked_for_the_whole() -> None:
    assert Owner().send("a", 7, 8, on("ann")) == "again"


def test_a_state_told_afresh_in_parts_lets_go_only_who_is_in_none_of_them() -> None:
    owner = Owner()
    owner.tell("a", on("ann"), on("bob"), on("carol"))
    owner.after(1)
    owner.tell("a", on("ann"), afresh=True, last=False)
    assert owner.after(1) == []
    owner.tell("a", on("dave"), last=False)
    owner.tell("a", on("carol"), last=True)
    assert names(owner.after(1)) == [(["dave"], ["bob"])]
    assert owner.online() == {"ann", "carol", "dave"}


def test_an_empty_state_told_afresh_lets_everybody_go() -> None:
    owner = Owner()
    owner.tell("a", on("ann"))
    owner.after(1)
    assert owner.tell("a", afresh=True) == "ok"
    assert names(owner.after(1)) == [([], ["ann"])]


def test_a_storm_in_a_large_group_is_announced_at_most_once_in_more_than_a_second() -> None:
    owner = Owner()
    owner.tell("a", *many(1_000))
    owner.after(1)
    owner.told_at.clear()
    for i in range(100):
        owner.tell("a", *[off(f"u{j}") for j in range(10 * i, 10 * i + 10)])
        owner.tell("b", *many(10, start=10 * i + 5_000))
        owner.after(0.1)
    assert len(owner.told_at) > 3
    assert owner.least_gap() >= LARGE_S - 0.001


def test_a_group_that_was_large_a_moment_ago_is_paced_while_its_users_come_back() -> None:
    owner = Owner()
    owner.tell("a", *many(1_000))
    owner.after(2)
    owner.tell("a", afresh=True)
    owner.told_at.clear()
    for i in range(20):
        owner.tell("b", *many(20, start=20 * i))
        owner.after(0.2)
    assert owner.least_gap() >= LARGE_S - 0.001


def test_a_group_that_was_large_long_ago_is_told_at_once() -> None:
    owner = Owner()
    owner.tell("a", *many(1_000))
    owner.tell("a", afresh=True)
    owner.hears(LATELY_S + 2, "a")
    owner.tell("a", on("ann"))
    assert len(owner.after(2 * MERGE_S)) == 1
    owner.tell("a", on("bob"))
    assert len(owner.after(2 * MERGE_S)) == 1


def test_an_announcement_names_a_bounded_number_of_users() -> None:
    owner = Owner()
    owner.tell("a", *many(2 * NAMES + 1))
    told = owner.after(1)
    assert [len(each.joined) for each in told] == [NAMES, NAMES, 1]
    assert {user for each in told for user in each.joined} == owner.online()


def test_what_was_lost_is_announced_again_as_it_is_by_then() -> None:
    owner = Owner()
    owner.tell("a", on("ann"), on("bob"))
    [lost] = owner.after(1)
    owner.tell("a", off("bob"))
    owner.presence.undelivered(lost, owner.now)
    assert names(owner.after(1)) == [(["ann"], ["bob"])]


def test_a_further_legacy_channel_of_one_who_is_online_is_told_as_again() -> None:
    owner = Owner()
    owner.tell("a", on("ann", "one"))
    owner.after(1)
    owner.tell("b", on("ann", "two"))
    [told] = owner.after(1)
    assert (told.joined, told.left, told.again) == ([], [], [("ann", "two")])


def test_of_channels_opened_at_once_all_are_told_in_their_order() -> None:
    owner = Owner()
    owner.tell("a", on("ann", "one"))
    owner.tell("b", on("ann", "two"))
    [told] = owner.after(1)
    assert (told.joined, told.again) == (["ann"], [("ann", "one"), ("ann", "two")])


def test_of_lost_channels_those_that_are_open_still_are_told_before_what_was_opened_since() -> None:
    owner = Owner()
    owner.tell("a", on("ann", "one"), on("bob", "old"))
    [lost] = owner.after(1)
    owner.tell("a", on("bob", "new"))
    owner.tell("b", on("ann", "two"))
    owner.presence.undelivered(lost, owner.now)
    [told] = owner.after(1)
    assert told.again == [("ann", "one"), ("bob", "new"), ("ann", "two")]


def test_a_state_told_afresh_to_the_same_owner_opens_no_channel_again() -> None:
    owner = Owner()
    owner.tell("a", on("ann", "one"))
    owner.after(1)
    owner.tell("a", on("ann", "one"), afresh=True)
    assert owner.after(1) == []


def test_nothing_is_kept_of_groups_in_which_nobody_is_online() -> None:
    owner = Owner()
    for i in range(50):
        owner.tell("a", on("ann", group=f"g{i}"))
        owner.tell("a", off("ann", group=f"g{i}"))
    owner.after(LATELY_S + LEASE_S)
    assert not owner.presence._online
    assert not owner.presence._leases
    assert not owner.presence._announcements._groups
