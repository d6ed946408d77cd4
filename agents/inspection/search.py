"""What an id is: of a group, a user, an event or a command. Each look has a bound, and the view says which."""

import asyncio
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from agents.inspection.broker import Broker
from agents.inspection.groups import event_view, with_record
from agents.inspection.here import Here
from agents.partition import Partition
from app.domain.commands import AnyCommand
from app.domain.events import Event, decode_event
from app.inspection import PAGE_FOUND, Found, Lead, SearchQuery, SearchView
from app.log.records import CommandPlace, EventRecord
from tables import group_rows, rows
from tables.partition_tables import PartitionTables
from tables.store import Store

SCAN_GROUPS = 2_000  # looked at for a user in one search
NEWEST_RECORDS = 10_000  # looked at for a command, over all partitions together
YIELD_GROUPS = 100

_EVENT_ID = re.compile(r"(.+)\.(\d{1,5})\.(\d{1,18})\.(\d{1,9})", re.ASCII | re.DOTALL)


class EventId(NamedTuple):
    """An event's id: the place of the command that it came from."""

    topic_id: str
    partition: int
    place: CommandPlace


def parse_event_id(text: str) -> EventId | None:
    """What an event's id names, None if `text` is none."""
    found = _EVENT_ID.fullmatch(text)
    if found is None:
        return None
    topic, partition, offset, index = found.groups()
    return EventId(topic, int(partition), CommandPlace(int(offset), int(index)))


async def search_event(
    here: Here, broker: Broker, partition: Partition, query: SearchQuery, event_id: EventId
) -> SearchView:
    """The event of an id, or what is known of its command; `partition` is the one that the id names."""
    looked, command = [], None
    if event_id.topic_id == here.layout.commands_topic_id:
        command = await broker.command(partition.number, event_id.place.offset, event_id.place.index)
        looked.append(f"the record at offset {event_id.place.offset} of the commands' partition {partition.number}")
    else:
        looked.append("no record: the commands topic of this id is not the one of now")
    group = command.group if command is not None else query.group
    found: list[Found] = []
    if group is not None and here.partition_of(group) == partition.number:
        event = await _event_of(partition.tables, group, query.id, event_id, here.layout.commands_topic_id)
        looked.append(f"the events of the group {group}")
        if event is not None:
            found.append(_found_event(partition, event, command.id if command is not None else None))
        elif command is not None:
            found.append(_found_command(partition, command))
    elif group is None:
        looked.append("no group's events: the record is not kept any more, so the group must be named")
    return _view(query, found, looked)


async def search_group(broker: Broker, partition: Partition, query: SearchQuery) -> SearchView:
    """A `client_msg_id` or a command's id in one group, which is in `partition`."""
    assert query.group is not None
    group = await partition.tables.load(query.group)
    seqs = {sent.seq for (_, client_msg_id), sent in group.sent.items() if client_msg_id == query.id}
    newest = await broker.newest_events(
        {partition.number: partition.log.epoch},
        NEWEST_RECORDS,
        lambda record: record.group == query.group and (record.command_id == query.id or record.seq in seqs),
    )
    records = {record.seq: record for _, record in newest}
    found = [
        each
        for seq in sorted(seqs | records.keys())
        if (each := _found_seq(partition, query.group, seq, records.get(seq))) is not None
    ]
    looked = [
        f"the {len(group.sent)} idempotency keys that the group keeps",
        f"command ids of the newest {NEWEST_RECORDS} records of partition {partition.number}",
    ]
    return _view(query, found[:PAGE_FOUND], looked)


async def search_anything(here: Here, broker: Broker, query: SearchQuery) -> SearchView:
    """The id of a group, a user or a command, in the partitions of this worker; where else to ask."""
    served = here.all_serving()
    found, looked = [], []
    if query.cursor is None:
        home = here.serving(here.partition_of(query.id))
        if home is not None and (await home.tables.load(query.id)).seq > 0:
            found.append(Found(what="group", partition=home.number, group=query.id))
            looked.append(f"the groups of partition {home.number}")
        count = NEWEST_RECORDS // max(1, len(served))
        found += await _commands(broker, served, query.id, count)
        looked.append(f"command ids of the newest {count} records of each partition here")
    members, cursor = await _memberships(served, query)
    looked.append(f"the members of the groups here, as of the last flush, {SCAN_GROUPS} groups at a time")
    return _view(query, found + members, looked, leads=_leads(here, broker, query.id), cursor=cursor)


async def _commands(broker: Broker, served: list[Partition], command_id: str, count: int) -> list[Found]:
    if not served:
        return []
    by_number = {partition.number: partition for partition in served}
    epochs = {number: partition.log.epoch for number, partition in by_number.items()}
    newest = await broker.newest_events(epochs, count, lambda record: record.command_id == command_id)
    found = (_found_seq(by_number[number], record.group, record.seq, record) for number, record in newest)
    return [each for each in found if each is not None][:PAGE_FOUND]


async def _memberships(served: list[Partition], query: SearchQuery) -> tuple[list[Found], str | None]:
    """The user's groups behind the cursor, and the cursor behind what was looked at; None when that was all."""
    number, after = _parse_cursor(query.cursor)
    found: list[Found] = []
    looked = 0
    for partition in served:
        if partition.number < number:
            continue
        start = after if partition.number == number else ""
        for group, row in _member_rows(partition.tables.stores["groups"], query.id, start):
            if row is not None:
                found.append(_found_member(partition, group, query.id, row))
            looked += 1
            if looked >= SCAN_GROUPS or len(found) >= PAGE_FOUND:
                return found, f"{partition.number}.{group}"
            if looked % YIELD_GROUPS == 0:
                await asyncio.sleep(0)
                if not partition.serving:  # its store may be closed
                    return found, f"{partition.number}.{group}"
    return found, None


def _member_rows(store: Store, user: str, after: str) -> Iterator[tuple[str, bytes | None]]:
    """Each group behind `after` and its row of `user`: two look-ups a group, however many rows it has."""
    # Ids hold no control character, so a group's keys end before its id followed by 0x01; the table's own begin with 0.
    start = after.encode() + b"\x01"
    while (key := next((key for key, _ in store.scan(b"", start)), None)) is not None:
        group = rows.group_of(key)
        assert group is not None
        yield group, store.get(_member_key(group, user))
        start = group.encode() + b"\x01"


def _member_key(group: str, user: str) -> bytes:
    return rows.group_prefix(group) + b"m" + user.encode()


def _found_member(partition: Partition, group: str, user: str, row: bytes) -> Found:
    reader = group_rows.GroupReader(group)
    reader.add(_member_key(group, user), row)
    member = reader.group().members[user]
    return Found(what="member", partition=partition.number, group=group, role=member.role, joined=member.joined)


def _parse_cursor(cursor: str | None) -> tuple[int, str]:
    number, _, group = (cursor or "").partition(".")
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0), group


async def _event_of(tables: PartitionTables, group: str, id_: str, event_id: EventId, topic_id: str) -> Event | None:
    """The group's event with this id, by halving: one owner after the other decides commands in their order."""

    def place(event: Event) -> CommandPlace:
        named = parse_event_id(event.id)
        # Another commands topic was an earlier one.
        return named.place if named is not None and named.topic_id == topic_id else CommandPlace(-1, -1)

    if event_id.topic_id != topic_id:
        return None
    low, high = 1, (await tables.load(group)).seq
    while low <= high:
        middle = (low + high) // 2
        value = tables.event(group, middle)
        event = decode_event(value) if value is not None else None  # what is pruned was early
        if event is not None and event.id == id_:
            return event
        if event is None or place(event) < event_id.place:
            low = middle + 1
        else:
            high = middle - 1
    return None


def _found_seq(partition: Partition, group: str, seq: int, record: EventRecord | None) -> Found | None:
    value = partition.tables.event(group, seq)
    if value is None:
        return None
    view = with_record(event_view(decode_event(value)), record)
    return Found(what="event", partition=partition.number, group=group, event=view)


def _found_event(partition: Partition, event: Event, command_id: str | None) -> Found:
    view = event_view(event)
    if command_id is not None:
        view = msgspec.structs.replace(view, command_id=command_id)
    return Found(what="event", partition=partition.number, group=event.group, event=view)


def _found_command(partition: Partition, command: AnyCommand) -> Found:
    kind = command.__struct_config__.tag
    by = command.by if command.by is not None else "an authority"
    note = f"{kind} by {by}, id {command.id}: no event; refused, a repetition, put aside, or not decided yet"
    return Found(what="command", partition=partition.number, group=command.group, note=note)


def _leads(here: Here, broker: Broker, id_: str) -> list[Lead]:
    """The other workers, and what they would know."""
    others: dict[str, tuple[str, list[int]]] = {}
    for number in range(here.layout.partitions):
        owner = broker.owners.get(number)
        if owner is not None and owner.url != here.url and here.serving(number) is None:
            others.setdefault(owner.url, (owner.worker, []))[1].append(number)
    home = here.partition_of(id_)
    return [
        Lead(
            what=f"groups, users and commands of partitions {', '.join(map(str, numbers))}"
            + (f"; a group of this id would be in {home}" if home in numbers else ""),
            worker=worker,
            url=url,
        )
        for url, (worker, numbers) in sorted(others.items())
    ]


def _view(
    query: SearchQuery,
    found: list[Found],
    looked: list[str],
    leads: list[Lead] | None = None,
    cursor: str | None = None,
) -> SearchView:
    return SearchView(id=query.id, group=query.group, found=found, looked=looked, leads=leads or [], cursor=cursor)
