"""Whom a worker sends its operators to, where the partition is not its own or not open."""

from typing import Any, cast

import pytest

from app.domain.outcomes import Rejection
from app.inspection import Elsewhere, GroupQuery, SearchQuery
from app.reads import OwnerRecord
from tests.unit.agents.inspected import URL, Worker, owner
from tests.unit.agents.test_partition import create

OTHERS = "g"  # a group of partition 1 of 2


@pytest.mark.parametrize(
    "query", [GroupQuery(group=OTHERS), SearchQuery(id="k", group=OTHERS), SearchQuery(id="commands.1.0.0")]
)
async def test_what_another_worker_owns_is_there(query: GroupQuery | SearchQuery) -> None:
    worker = Worker(partitions=2)
    worker.broker.records = [owner("processor-0", URL), owner("processor-1", "http://there:1")]
    ask = worker.inspector.group if isinstance(query, GroupQuery) else worker.inspector.search
    assert await ask(cast("Any", query)) == Elsewhere("http://there:1")
    assert worker.inspector.urls() == {URL, "http://there:1"}


@pytest.mark.parametrize(
    "records",
    [
        [],
        [owner("processor-0", URL), owner("processor-0", URL)],
        [owner("processor-0", URL), owner("evil", "javascript:alert(1)")],
    ],
)
async def test_nobody_is_led_in_a_circle_or_out_of_the_web(records: list[OwnerRecord]) -> None:
    worker = Worker(partitions=2)
    worker.broker.records = records
    refusal = await worker.inspector.group(GroupQuery(group=OTHERS))
    assert isinstance(refusal, Rejection)
    assert (refusal.code, refusal.temporary) == ("unavailable", True)
    assert worker.inspector.urls() <= {URL}


async def test_a_closed_partition_is_not_asked() -> None:
    worker = Worker()
    await worker.do([create()])
    worker.world.partition.serving = False
    refusal = await worker.inspector.group(GroupQuery(group="g"))
    assert isinstance(refusal, Rejection)
    assert refusal.code == "unavailable"
