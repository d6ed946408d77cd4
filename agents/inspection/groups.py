"""The view of one group, now or as it was at an earlier seq: the fold of its events up to there."""

import msgspec

from agents.inspection.broker import Broker
from agents.inspection.here import Here
from agents.partition import Partition
from app.domain.events import Event, decode_event
from app.domain.outcomes import Rejection
from app.domain.state import Group
from app.inspection import PAGE_EVENTS, PAGE_MEMBERS, EventView, GroupQuery, GroupView, Membership
from app.kafka.consumer import ReadError
from app.log.records import EventRecord
from tables.partition_tables import PartitionTables

NEWEST_RECORDS = 2_000  # of the partition: those whose commands are named


async def group_view(here: Here, broker: Broker, partition: Partition, query: GroupQuery) -> GroupView | Rejection:
    """The group of a partition that serves here, from delivered events only."""
    now = await partition.tables.load(query.group)
    if now.seq == 0:
        return Rejection("no_such_group", "there is no such group")
    head, delivered = now.seq, partition.log.offset_after_all()
    seq = query.at_seq if query.at_seq is not None else head
    if not now.first <= seq <= head:
        return Rejection("invalid", f"at_seq: this life of the group has {now.first} to {head}", field="at_seq")
    group = now if seq == head else await partition.tables.past.at(now, seq)
    said = _view(here, partition, group, head, query.members)
    await delivered
    return await _with_commands(broker, partition, said)


def _view(here: Here, partition: Partition, group: Group, head: int, start: int) -> GroupView:
    everybody = list(group.members.items())
    page = everybody[start : start + PAGE_MEMBERS]
    events = _last_events(partition.tables, group)
    oldest = events[-1].seq if events else 1
    return GroupView(
        group=group.id,
        partition=partition.number,
        worker=here.worker,
        epoch=partition.log.epoch,
        head=head,
        seq=group.seq,
        first=group.first,
        life=group.life,
        name=group.name,
        topic=group.topic,
        join=group.join,
        history=group.history,
        at=events[0].at if events else None,
        members=[Membership(user, member.role, member.joined) for user, member in page],
        members_total=len(everybody),
        next_members=start + PAGE_MEMBERS if start + PAGE_MEMBERS < len(everybody) else None,
        banned=sorted(group.banned)[:PAGE_MEMBERS],
        banned_total=len(group.banned),
        keys=len(group.sent) if group.seq == head else None,
        events=events,
        earlier=oldest - 1 if oldest > group.first else None,
    )


def _last_events(tables: PartitionTables, group: Group) -> list[EventView]:
    seqs = range(group.seq, max(0, group.seq - PAGE_EVENTS), -1)
    values = (tables.event(group.id, seq) for seq in seqs)
    return [event_view(decode_event(value)) for value in values if value is not None]


async def _with_commands(broker: Broker, partition: Partition, view: GroupView) -> GroupView:
    """The view with what the newest records of the log tell of its events."""

    def of_the_group(record: EventRecord) -> bool:
        return record.group == view.group

    try:
        newest = await broker.newest_events({partition.number: partition.log.epoch}, NEWEST_RECORDS, of_the_group)
    except ReadError:
        return view
    by_seq = {record.seq: record for _, record in newest}
    return msgspec.structs.replace(view, events=[with_record(event, by_seq.get(event.seq)) for event in view.events])


def event_view(event: Event) -> EventView:
    """An event without its content."""
    data = event.data
    return EventView(
        seq=event.seq,
        kind=event.kind,
        by=event.by,
        at=event.at,
        id=event.id,
        client_msg_id=event.client_msg_id,
        user=getattr(data, "user", None),
        target=getattr(data, "target", None),
    )


def with_record(event: EventView, record: EventRecord | None) -> EventView:
    """An event with what its record in the log tells, if that is known."""
    if record is None:
        return event
    return msgspec.structs.replace(event, command_id=record.command_id, offset=record.offset)
