"""What clients are told of one group's presence: only what is new to them, and not too often."""

import itertools

import pytest

from app.presence import LATELY_S, NAMES, Announcement
from web.presence_change import PresenceChange
from web.presence_view import CONFIRM_S, FRAME_S, GroupView


class Scene:
    """A view with a clock, numbered announcements, and the users who have a socket here."""

    def __init__(self, *online: str, begun: bool = True) -> None:
        self.now = 100.0
        self.number = 0
        self.epoch = 5
        self.here: set[str] = set()
        self.view = GroupView("g", self.epoch, self.here.__contains__)
        if begun:
            self.view.begin((self.epoch, 0), list(online), self.now)

    def announce(
        self, *joined: str, left: tuple[str, ...] = (), again: tuple[tuple[str, str], ...] = ()
    ) -> PresenceChange | None:
        self.number += 1
        told = Announcement(group="g", kind="presence", joined=[*joined], left=[*left], again=[*again])
        self.view.hear((self.epoch, self.number), told, self.now)
        return self.view.take(self.now)

    def wait(self, seconds: float) -> list[PresenceChange]:
        """What is told in so many seconds, each as soon as it may be."""
        end, told = self.now + seconds, []
        while (at := self.view.next_at(self.now)) <= end:
            self.now = max(self.now, at)
            if (change := self.view.take(self.now)) is not None:
                told.append(change)
        self.now = end
        return told

    def told(self) -> set[str]:
        return set(self.view.told)


def test_what_is_new_is_told_and_what_is_known_is_not() -> None:
    scene = Scene("ann")
    assert scene.announce("bob", left=("ann",)) == PresenceChange("g", ("bob",), ("ann",))
    assert scene.announce("bob", left=("ann",)) is None
    assert scene.told() == {"bob"}


def test_announcements_that_the_answer_knows_already_say_nothing() -> None:
    scene = Scene(begun=False)
    scene.announce("ann")
    scene.announce(left=("ann",))
    scene.view.begin((scene.epoch, 3), ["ann", "bob"], scene.now)
    assert scene.told() == {"ann", "bob"}
    scene.number = 1
    assert scene.announce(left=("bob",)) is None


def test_announcements_that_overtake_the_answer_hold_after_it() -> None:
    scene = Scene(begun=False)
    scene.announce("ann", left=("bob",))
    scene.view.begin((scene.epoch, 0), ["bob"], scene.now)
    assert scene.told() == {"ann"}


def test_an_earlier_owners_announcements_are_void() -> None:
    scene = Scene("ann")
    scene.view.advance(scene.epoch + 1, scene.now)
    assert scene.announce("bob", left=("ann",)) is None
    assert scene.told() == {"ann"}


def test_a_new_owner_who_hears_of_the_same_users_says_nothing_to_anybody() -> None:
    scene = Scene("ann", "bob")
    scene.epoch += 1
    scene.view.advance(scene.epoch, scene.now)
    assert scene.announce("ann", "bob") is None
    assert scene.wait(3 * CONFIRM_S) == []


def test_whom_a_new_owner_does_not_hear_of_has_left_when_the_time_to_say_so_is_over() -> None:
    scene = Scene("ann", "bob")
    scene.epoch += 1
    scene.announce("ann")
    assert scene.wait(CONFIRM_S - 0.1) == []
    assert scene.wait(0.2) == [PresenceChange("g", (), ("bob",))]
    assert scene.told() == {"ann"}


def test_a_new_owners_answer_confirms_whom_it_names() -> None:
    scene = Scene("ann", "bob")
    scene.view.begin((scene.epoch + 1, 4), ["ann"], scene.now)
    assert scene.wait(2 * CONFIRM_S) == [PresenceChange("g", (), ("bob",))]


def test_a_user_with_a_socket_here_never_leaves_by_hearsay() -> None:
    scene = Scene("ann")
    scene.here.add("ann")
    assert scene.announce(left=("ann",)) is None
    scene.view.advance(scene.epoch + 1, scene.now)
    assert scene.wait(2 * CONFIRM_S) == []
    assert scene.told() == {"ann"}


def test_who_was_said_to_have_left_has_left_with_the_last_socket_here() -> None:
    scene = Scene("ann")
    scene.here.add("ann")
    scene.announce(left=("ann",))
    scene.here.clear()
    scene.view.left_here("ann")
    assert scene.wait(1) == [PresenceChange("g", (), ("ann",))]


def test_who_was_said_to_have_come_back_stays_when_the_last_socket_here_ends() -> None:
    scene = Scene("ann")
    scene.here.add("ann")
    scene.announce(left=("ann",))
    scene.announce("ann")
    scene.here.clear()
    scene.view.left_here("ann")
    assert scene.wait(1) == []


def test_whom_a_further_answer_names_is_told_to_all_and_announced_to_nobody_again() -> None:
    scene = Scene("ann")
    scene.view.refresh((scene.epoch, 0), ["ann", "bob"], [])
    assert scene.wait(1) == [PresenceChange("g", ("bob",))]
    assert scene.announce("bob") is None


def test_an_answer_that_was_overtaken_tells_nothing() -> None:
    scene = Scene("ann", "bob")
    scene.announce(left=("bob",))
    scene.view.refresh((scene.epoch, 0), ["ann", "bob"], [])
    assert scene.wait(1) == []


def test_a_user_here_of_whom_no_owner_has_heard_leaves_with_the_last_socket() -> None:
    scene = Scene()
    scene.here.add("ann")
    scene.view.refresh((scene.epoch, 0), [], ["ann"])
    assert scene.wait(1) == [PresenceChange("g", ("ann",))]
    scene.here.clear()
    scene.view.left_here("ann")
    assert scene.wait(1) == [PresenceChange("g", (), ("ann",))]


def test_a_large_group_gets_a_frame_a_second_whatever_comes() -> None:
    scene = Scene(*(f"u{n}" for n in range(500)))
    at = []
    for n in range(200):
        if scene.announce(f"v{n}", left=(f"u{n}",)) is not None:
            at.append(scene.now)
        scene.now += 0.05
    assert 8 <= len(at) <= 10
    assert min(later - earlier for earlier, later in itertools.pairwise(at)) >= FRAME_S - 0.001


def test_a_group_that_was_large_lately_is_paced_though_everybody_is_gone() -> None:
    scene = Scene(*(f"u{n}" for n in range(500)))
    scene.announce(left=tuple(f"u{n}" for n in range(500)))
    assert scene.told() == set()
    assert scene.announce("ann") is None
    assert [change.joined for change in scene.wait(FRAME_S)] == [("ann",)]
    scene.wait(LATELY_S)
    assert scene.announce("bob") is not None


def test_a_frame_names_at_most_a_thousand_and_the_rest_comes_later() -> None:
    scene = Scene()
    first = scene.announce(*(f"u{n}" for n in range(2 * NAMES + 1)))
    assert first is not None
    assert len(first.joined) == NAMES
    assert [len(change.joined) for change in scene.wait(3 * FRAME_S)] == [NAMES, 1]


def test_a_change_that_is_taken_back_before_it_is_told_is_not_told() -> None:
    scene = Scene(*(f"u{n}" for n in range(500)))
    scene.announce("first")
    assert scene.announce("ann") is None
    assert scene.announce(left=("ann",)) is None
    assert scene.wait(2 * FRAME_S) == []


def test_what_is_held_of_one_group_is_bounded_and_changes_beyond_it_pass_through() -> None:
    scene = Scene(*(f"u{n}" for n in range(10_000)))
    scene.announce("one more")
    assert len(scene.told()) == 10_000
    scene.wait(2 * FRAME_S)
    assert scene.announce(left=("one more",)) == PresenceChange("g", (), ("one more",))


def test_a_further_legacy_channel_is_told_once() -> None:
    scene = Scene()
    assert scene.announce("ann", again=(("ann", "one"),)) == PresenceChange("g", ("ann",))
    assert scene.announce(again=(("ann", "two"),)) == PresenceChange("g", again=("ann",))
    assert scene.announce(again=(("ann", "two"),)) is None


def test_channels_that_are_opened_at_once_are_told_as_often_as_they_were() -> None:
    scene = Scene()
    told = scene.announce("ann", "bob", again=(("ann", "one"), ("bob", "x"), ("ann", "two"), ("ann", "three")))
    assert told == PresenceChange("g", ("ann", "bob"), again=("ann", "ann"))


def test_the_coming_of_one_who_was_told_by_an_answer_already_is_not_told_by_the_channel_again() -> None:
    scene = Scene()
    scene.here.add("ann")
    scene.view.refresh((scene.epoch, 0), (), scene.here)
    assert scene.view.take(scene.now) == PresenceChange("g", ("ann",))
    assert scene.announce("ann", again=(("ann", "one"),)) == PresenceChange("g", opened=(("ann", "one"),))


def test_the_channel_of_one_who_was_online_elsewhere_is_a_further_one_though_both_are_announced_at_once() -> None:
    scene = Scene("ann")
    scene.here.add("ann")
    told = scene.announce("ann", again=(("ann", "one"),))
    assert told == PresenceChange("g", again=("ann",), opened=(("ann", "one"),))


def test_only_of_users_who_are_here_the_channels_are_named_in_their_order() -> None:
    scene = Scene("ann", "bob")
    scene.here.add("ann")
    told = scene.announce(again=(("ann", "one"), ("bob", "x"), ("ann", "two")))
    assert told == PresenceChange("g", again=("ann", "ann", "bob"), opened=(("ann", "one"), ("ann", "two")))


def test_a_channel_that_a_new_owner_tells_anew_is_no_further_one() -> None:
    scene = Scene("ann")
    assert scene.announce("ann", again=(("ann", "one"),)) is None
    scene.epoch += 1
    assert scene.announce("ann", again=(("ann", "one"),)) is None


@pytest.mark.parametrize("channels", [(), (("ann", "one"),)])
def test_an_end_that_is_read_with_the_coming_turns_it(channels: tuple[tuple[str, str], ...]) -> None:
    scene = Scene()
    coming = Announcement(group="g", kind="presence", joined=["ann"], left=[], again=[*channels])
    end = Announcement(group="g", kind="presence", joined=[], left=["ann"])
    assert not scene.view.is_turned_by(end)
    scene.view.hear((scene.epoch, 1), coming, scene.now)
    assert scene.view.is_turned_by(end)
    assert not scene.view.is_turned_by(coming)
    assert scene.view.take(scene.now) == PresenceChange("g", ("ann",))
    assert not scene.view.is_turned_by(end)


def test_ones_own_coming_is_left_out_of_ones_frame() -> None:
    change = PresenceChange("g", ("ann", "bob"))
    told = change.frame_for("ann")
    assert told is not None
    assert b'"joined":["bob"]' in told
    assert PresenceChange("g", ("ann",)).frame_for("ann") is None
    assert PresenceChange("g", again=("ann",)).frame_for("bob") is None
