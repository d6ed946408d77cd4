"""What is made of the records of a partition: what counts, in order, and nothing where one is missing."""

import pytest

from app.kafka.consumer import ReadError
from app.log.records import RecordError
from bridges.outbound.positions import Place, PositionError
from bridges.outbound.steps import Generation, Step, joined
from tests.support.void_log import PartitionLog, Record, by_chance, by_hand, fold

LOG = "log"


def steps(records: list[Record], place: Place, partition: int = 0) -> list[Step]:
    generation = Generation(1, LOG, {partition: place})
    return [generation.step(record) for record in records[place.offset :] if generation.is_next(record)]


def rows(taken: list[Step]) -> list[tuple[str, int, str, str]]:
    items = [step.item for step in taken if step.item is not None]
    return [(item.group, item.seq, item.kind, item.value.decode()) for item in items]


def test_what_counts_is_what_the_fenced_fold_says() -> None:
    records = by_chance(LOG, 600, seed=7).records
    assert rows(steps(records, Place(0, -1), partition=1)) == fold(records)


def test_begun_anew_at_any_place_what_follows_is_the_same() -> None:
    records = by_hand(LOG).records
    whole = steps(records, Place(0, -1))
    for at, step in enumerate(whole[:-1]):
        assert steps(records, step.place) == whole[at + 1 :]


def test_a_claim_moves_the_place_and_its_epoch() -> None:
    log = PartitionLog(0, LOG)
    log.claim()
    log.claim()
    assert [step.place for step in steps(log.records, Place(0, -1))] == [Place(1, 0), Place(2, 1)]


def test_a_record_that_came_before_is_not_taken_again() -> None:
    generation = Generation(1, LOG, {0: Place(2, 0)})
    first, second, third = by_hand(LOG).records[:3]
    assert [generation.is_next(record) for record in (first, second, third, third)] == [False, False, True, False]


def test_where_a_record_is_missing_the_place_is_lost() -> None:
    generation = Generation(1, LOG, {0: Place(0, -1)})
    with pytest.raises(ReadError, match="2 came where 0 is due"):
        generation.is_next(by_hand(LOG).records[2])


def test_a_claim_of_another_log_ends_the_reading() -> None:
    generation = Generation(1, "another", {0: Place(0, -1)})
    with pytest.raises(PositionError, match="names another log"):
        generation.step(by_hand(LOG).records[0])


def test_what_is_neither_event_nor_claim_ends_the_reading() -> None:
    generation = Generation(1, LOG, {0: Place(0, -1)})
    with pytest.raises(RecordError):
        generation.step(Record(0, 0, b"g1", b"{}", [("kind", b"message.posted")]))


def test_runs_of_what_is_no_event_are_one_step() -> None:
    log = PartitionLog(0, LOG)
    log.claim()
    epoch = log.claim()
    log.event("g1", 1, epoch, "counts")
    log.event("g1", 2, 0, "void")
    log.event("g1", 2, 0, "void")

    taken = joined(steps(log.records, Place(0, -1)))

    assert [(step.place, step.item is not None) for step in taken] == [
        (Place(2, 1), False),
        (Place(3, 1), True),
        (Place(5, 1), False),
    ]
