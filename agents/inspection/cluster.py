"""The view of all partitions: this worker's own in full, of the others who owns them."""

from time import monotonic

from agents.inspection.broker import Broker, Places, now_ms
from agents.inspection.here import Here
from agents.partition import Partition
from app.inspection import ClusterView, Flushed, Owner, PartitionView, Served
from app.kafka.consumer import ReadError


async def cluster_view(here: Here, broker: Broker) -> ClusterView:
    """The cluster now. What the broker does not say is left out and told as a fault."""
    faults = []
    try:
        await broker.learn_owners()
    except ReadError as failed:
        faults.append(f"Owners may be old: {failed}")
    try:
        places = await broker.places()
    except ReadError as failed:
        places = Places(committed={}, ends={})
        faults.append(f"Ends and commits are not known: {failed}")
    numbers = range(here.layout.partitions)
    waiting = {p: first for p in numbers if (first := _first_undecided(here, places, p)) is not None}
    instants = await broker.instants(waiting)
    return ClusterView(
        worker=here.worker,
        url=here.url,
        log=here.layout.log_id,
        commands_topic=here.layout.commands_topic_id,
        partitions=[_partition(here, broker, places, p, instants.get(p)) for p in numbers],
        faults=faults,
    )


def _first_undecided(here: Here, places: Places, number: int) -> int | None:
    """The offset of the oldest command of a partition of this worker that is not decided; None if all are."""
    state, _ = here.state(number)
    if state is None or number not in places.ends:
        return None
    partition = here.serving(number)
    first = places.committed.get(number) or 0
    if partition is not None:
        first = max(first, partition.decided.offset + 1)
    return first if first < places.ends[number] else None


def _partition(here: Here, broker: Broker, places: Places, number: int, waits_since_ms: int | None) -> PartitionView:
    state, reason = here.state(number)
    partition, record = here.serving(number), broker.owners.get(number)
    committed, end = places.committed.get(number), places.ends.get(number)
    oldest_s = 0.0 if waits_since_ms is None else max(0.0, (now_ms() - waits_since_ms) / 1000)
    if partition is not None:
        oldest_s = max(oldest_s, partition.in_flight.age_s())
    return PartitionView(
        partition=number,
        owner=Owner(worker=record.worker, url=record.url, epoch=record.epoch, offset=record.offset) if record else None,
        state=state,
        reason=reason,
        committed=committed,
        end=end,
        lag=max(0, end - (committed or 0)) if end is not None and number in places.committed else None,
        oldest_unanswered_s=oldest_s if state is not None else None,
        served=_served(partition) if partition is not None else None,
    )


def _served(partition: Partition) -> Served:
    tables, flushed = partition.tables, partition.last_flush
    return Served(
        epoch=partition.log.epoch,
        next_event_offset=partition.log.next_offset,
        decided_offset=partition.decided.offset,
        decided_index=partition.decided.index,
        in_flight=len(partition.in_flight),
        unwritten=tables.unwritten(),
        groups_in_memory=tables.groups_in_memory,
        rows={name: store.estimated_rows() for name, store in tables.stores.items()},
        last_flush=Flushed(age_s=monotonic() - flushed.at_s, rows=flushed.rows, took_s=flushed.took_s)
        if flushed is not None
        else None,
    )
