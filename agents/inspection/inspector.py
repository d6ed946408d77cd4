"""The worker's answers: each within its deadline, from here or by naming the worker that owns what was asked for."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from agents.inspection.broker import Broker
from agents.inspection.cluster import cluster_view
from agents.inspection.groups import group_view
from agents.inspection.here import Here
from agents.inspection.search import parse_event_id, search_anything, search_event, search_group
from agents.partition import Partition
from app.domain.outcomes import Rejection
from app.inspection import ClusterView, Elsewhere, GroupQuery, GroupView, SearchQuery, SearchView
from app.kafka.consumer import ReadError
from tables.history import NotLoadedError

ANSWER_S = 15.0
AT_ONCE = 4  # an operator's curiosity must not take the worker's time from its commands

_T = TypeVar("_T")


class WorkerInspector:
    """`app.inspection.Inspector` for one worker."""

    def __init__(self, here: Here, broker: Broker) -> None:
        self._here = here
        self._broker = broker
        self._room = asyncio.Semaphore(AT_ONCE)

    async def cluster(self) -> ClusterView:
        """The partitions and their owners."""
        async with self._room:
            return await cluster_view(self._here, self._broker)

    async def group(self, query: GroupQuery) -> GroupView | Elsewhere | Rejection:
        """A group's state."""
        return await self._in_time(self._group(query))

    async def search(self, query: SearchQuery) -> SearchView | Elsewhere | Rejection:
        """What an id is."""
        return await self._in_time(self._search(query))

    def urls(self) -> set[str]:
        """The addresses of the owners known here."""
        owners = (self._broker.owners.get(number) for number in range(self._here.layout.partitions))
        return {owner.url for owner in owners if owner is not None and _is_web(owner.url)}

    async def _in_time(self, answer: Awaitable[_T]) -> _T | Rejection:
        try:
            async with asyncio.timeout(ANSWER_S), self._room:
                return await answer
        except TimeoutError:
            return Rejection("timeout", f"there was no answer in {ANSWER_S:.0f} s", temporary=True)
        except NotLoadedError:
            return Rejection("unavailable", "the history is being loaded", temporary=True)
        except ReadError as failed:
            return Rejection("unavailable", f"the broker does not say: {failed}", temporary=True)

    async def _group(self, query: GroupQuery) -> GroupView | Elsewhere | Rejection:
        partition = await self._owner_of(self._here.partition_of(query.group))
        if isinstance(partition, Partition):
            return await group_view(self._here, self._broker, partition, query)
        return partition

    async def _search(self, query: SearchQuery) -> SearchView | Elsewhere | Rejection:
        event_id = parse_event_id(query.id)
        if event_id is not None and event_id.partition < self._here.layout.partitions:
            partition = await self._owner_of(event_id.partition)
            if isinstance(partition, Partition):
                return await search_event(self._here, self._broker, partition, query, event_id)
            return partition
        if query.group is not None:
            partition = await self._owner_of(self._here.partition_of(query.group))
            if isinstance(partition, Partition):
                return await search_group(self._broker, partition, query)
            return partition
        await self._broker.learn_owners()
        return await search_anything(self._here, self._broker, query)

    async def _owner_of(self, number: int) -> Partition | Elsewhere | Rejection:
        """The partition if it serves here, else the worker that owns it by the newest record."""
        partition = self._here.serving(number)
        if partition is not None:
            return partition
        await self._broker.learn_owners()
        owner = self._broker.owners.get(number)
        if owner is None or owner.url == self._here.url or not _is_web(owner.url):
            return Rejection("unavailable", f"partition {number} is served by no worker now", temporary=True)
        return Elsewhere(owner.url)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))
