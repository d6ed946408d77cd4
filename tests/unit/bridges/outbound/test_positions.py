"""Where the way out may go on: never from a place that is none of this log."""

import pytest

from bridges.outbound.positions import Bounds, Committed, Place, PositionError, metadata_of, place_of

BOUNDS = Bounds(low=5, end=20)


def test_what_was_committed_comes_back_as_the_same_place() -> None:
    place = Place(12, 7)
    committed = Committed(place.offset, metadata_of(place, "log"))
    assert place_of(0, committed, BOUNDS, "log", "group") == place


def test_a_place_before_any_claim_comes_back_too() -> None:
    place = Place(5, -1)
    committed = Committed(place.offset, metadata_of(place, "log"))
    assert place_of(0, committed, BOUNDS, "log", "group") == place


def test_a_place_before_what_is_kept_is_one_of_this_log() -> None:
    assert place_of(0, Committed(2, "1 log"), BOUNDS, "log", "group") == Place(2, 1)


def test_the_end_is_a_place() -> None:
    assert place_of(0, Committed(20, "1 log"), BOUNDS, "log", "group") == Place(20, 1)


@pytest.mark.parametrize(
    ("committed", "said"),
    [
        (Committed(21, "1 log"), "the log ends at 20"),
        (Committed(12, "1 another"), "stands in log another, this one is log"),
        (Committed(12, ""), "without an epoch"),
        (Committed(12, "7"), "without an epoch"),
        (Committed(12, "x log"), "without an epoch"),
    ],
)
def test_any_other_is_refused_and_the_partition_and_group_are_named(committed: Committed, said: str) -> None:
    with pytest.raises(PositionError, match=said) as refused:
        place_of(3, committed, BOUNDS, "log", "auerbach-amqp-out")
    assert "chat.group.events.v1/3: consumer group auerbach-amqp-out" in str(refused.value)
