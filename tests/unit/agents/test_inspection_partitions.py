"""What a worker tells its operators of its partitions, and of those that it has not open."""

from typing import Any, cast

import pytest

from agents.inspection.broker import Places, now_ms
from tests.unit.agents.inspected import URL, Worker, owner
from tests.unit.agents.test_partition import EPOCH, create, post


async def test_an_open_partition_is_told_with_its_figures() -> None:
    worker = Worker()
    worker.broker.told = Places(committed={0: 1}, ends={0: 3})
    await worker.do([create(), post("a")], [post("b")])
    await worker.world.send(2, post("under way"), post("too"))

    view = await worker.inspector.cluster()

    (told,) = view.partitions
    assert (told.state, told.reason, told.committed, told.end, told.lag) == ("open", None, 1, 3, 2)
    served = told.served
    assert served is not None
    assert (served.epoch, served.next_event_offset) == (EPOCH, EPOCH + 4)
    assert (served.decided_offset, served.decided_index, served.in_flight) == (2, 1, 2)
    assert (served.groups_in_memory, served.unwritten > 0, served.last_flush) == (1, True, None)
    assert served.rows == {"groups": 0, "history": 0}
    assert (view.worker, view.url, view.faults) == ("processor-0", URL, [])


async def test_the_oldest_command_without_an_answer_is_one_under_way_or_one_not_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    await worker.do([create()])
    worker.broker.told = Places(committed={0: None}, ends={0: 1})  # decided, and not committed yet
    worker.broker.since = {0: now_ms() - 60_000}

    async def oldest_s() -> float | None:
        return (await worker.inspector.cluster()).partitions[0].oldest_unanswered_s

    assert await oldest_s() == 0
    monkeypatch.setattr(worker.world.partition.in_flight, "age_s", lambda: 7.5)
    assert await oldest_s() == 7.5
    worker.broker.told = Places(committed={0: 1}, ends={0: 4})
    assert await oldest_s() == pytest.approx(60, abs=30)
    assert worker.broker.asked_instants == [{}, {}, {0: 1}]


async def test_a_partition_that_is_not_open_is_told_as_what_it_is() -> None:
    worker = Worker(partitions=4, assigned={0, 1, 2}, stopped={2: "beyond the end"})
    worker.broker.told = Places(committed=dict.fromkeys(range(4)), ends=dict.fromkeys(range(4), 9))
    worker.broker.records = [owner("processor-0", URL), *(owner("processor-1", "http://there") for _ in range(3))]
    worker.broker.since = {1: now_ms() - 60_000}

    partitions = (await worker.inspector.cluster()).partitions

    assert [(p.state, p.reason) for p in partitions] == [
        ("open", None), ("opening", None), ("stopped", "beyond the end"), (None, None),
    ]  # fmt: skip
    assert [p.served is not None for p in partitions] == [True, False, False, False]
    assert [p.lag for p in partitions] == [9, 9, 9, 9]
    assert partitions[1].oldest_unanswered_s == pytest.approx(60, abs=30)
    assert partitions[3].oldest_unanswered_s is None
    assert partitions[3].owner is not None
    assert (partitions[3].owner.worker, partitions[3].owner.url) == ("processor-1", "http://there")


async def test_what_the_broker_does_not_say_is_left_out_and_said_to_be() -> None:
    worker = Worker()
    worker.broker.told = None

    view = await worker.inspector.cluster()

    assert [(p.end, p.lag, p.committed) for p in view.partitions] == [(None, None, None)]
    (fault,) = view.faults
    assert "away" in fault
    assert view.partitions[0].served is not None


async def test_a_flush_is_told_with_its_rows_and_its_age() -> None:
    worker = Worker()
    await worker.do([create()])
    written: list[int] = []

    class Written:
        async def flush(self, snapshot: Any, _position: Any) -> None:
            written.append(len(snapshot))

    worker.world.partition._flusher._write_behind = cast("Any", Written())
    await worker.world.partition._flusher.flush()

    served = (await worker.inspector.cluster()).partitions[0].served
    assert served is not None
    assert served.last_flush is not None
    assert served.last_flush.rows == written[0] > 0
    assert served.last_flush.age_s >= 0
    assert served.last_flush.took_s >= 0
