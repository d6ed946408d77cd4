"""Answers to gateways' reads: what a member may know of a group, from delivered events only (design I9)."""

import asyncio
from collections.abc import Iterator

import msgspec

from agents.flusher import ClosedError
from agents.partition import Partition
from app.domain.events import MessagePosted, decode_event
from app.domain.outcomes import Rejection
from app.domain.state import Group, readable
from app.kafka.consumer import ReadError
from app.reads import (
    PAGE_BYTES,
    PAGE_EVENTS,
    STATE_MEMBERS,
    Answer,
    AnyRead,
    MemberView,
    ReadEvents,
    ReadMessages,
    ReadState,
    ReadSubscription,
    StateView,
)
from tables.partition_tables import PartitionTables

YIELD_EVENTS = 500  # rows looked at before the loop gets its turn


class Withheld(msgspec.Struct, frozen=True, rename={"since": "from"}, tag_field="type", tag="withheld"):
    """The frame that stands for events this member may not read (protocol §4)."""

    group: str
    since: int
    through: int


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message in `history` (protocol §9)."""

    seq: int
    id: str
    by: str | None
    at: str
    client_msg_id: str | None
    text: str | None
    reply_to: int | msgspec.UnsetType = msgspec.UNSET
    mentions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    attributes: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    reactions: dict[str, list[str]]


class NotLoadedError(Exception):
    """The history has no row for an event that must be there: it is loading."""


async def answer(partition: Partition, log_id: str, read: AnyRead, timeout_s: float) -> Answer:
    """The owner's answer to one read.

    What it says is taken from the state now, and said only when that state is on disk and the log up to `read.end`
    holds nothing else that counts.
    """
    if not partition.serving:
        return Answer(missing="not_owner")
    group = partition.tables.group(read.group)
    offset = partition.log.offset_after_all()
    covered = {"epoch": partition.log.epoch, "seq": group.seq}
    try:
        async with asyncio.timeout(timeout_s):
            refusal = _refusal(group, read.user)
            said = Answer(refusal=refusal) if refusal else await _say(partition.tables, group, log_id, read)
            reached = await offset
            if not await partition.log.cover(read.end):
                return Answer(missing="behind")
    except (NotLoadedError, ReadError):
        return Answer(missing="loading")
    except (TimeoutError, ClosedError):
        return Answer(missing="not_owner")
    except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
        partition.fail(why)
        return Answer(missing="not_owner")
    if not partition.serving:
        return Answer(missing="not_owner")
    # What stands between the last event of this state and `end` is void, so reading on from `end` loses nothing.
    return msgspec.structs.replace(said, **covered, offset=max(reached, read.end))


def _refusal(group: Group, user: str) -> Rejection | None:
    if group.life != "alive":
        return Rejection("no_such_group", "there is no such group")
    if user in group.banned:
        return Rejection("banned", "you are banned from this group")
    if user not in group.members:
        return Rejection("not_a_member", "you are not a member of this group")
    return None


async def _say(tables: PartitionTables, group: Group, log_id: str, read: AnyRead) -> Answer:
    match read:
        case ReadState():
            return Answer(state=_state(group))
        case ReadEvents():
            return await _page(tables, group, read.user, max(read.after + 1, group.first), min(read.through, group.seq))
        case ReadMessages():
            return await _messages(tables, group, read)
        case ReadSubscription():
            start, recovered = _start(group, log_id, read)
            state = _state(group) if read.state else None
            page = await _page(tables, group, read.user, start, group.seq)
            return msgspec.structs.replace(page, state=state, start=start, recovered=recovered)


def _state(group: Group) -> StateView:
    members = [MemberView(user, m.role, m.joined) for user, m in list(group.members.items())[:STATE_MEMBERS]]
    return StateView(
        name=group.name,
        topic=group.topic,
        join=group.join,
        history=group.history,
        first=group.first,
        seq=group.seq,
        members=members,
        members_more=True if len(group.members) > STATE_MEMBERS else msgspec.UNSET,
    )


def _start(group: Group, log_id: str, read: ReadSubscription) -> tuple[int, bool]:
    """Where the replay begins, and whether it is what the client asked for (protocol §4, §9 Lives)."""
    head = group.seq
    if read.last is not None:
        return _last(group, read.user, read.last), True
    if read.after is None:
        return head + 1, True
    if read.after > head or (read.log is not None and read.log != log_id):
        return head + 1, False
    if read.after == 0 or read.after >= group.first - 1:
        return max(read.after + 1, group.first), True
    return group.first, False


def _last(group: Group, user: str, count: int) -> int:
    """The seq from which `count` readable events follow."""
    start = group.seq + 1
    while count > 0 and start > group.first:
        start -= 1
        count -= readable(group, user, start)
    return start


async def _page(tables: PartitionTables, group: Group, user: str, start: int, through: int) -> Answer:
    """The frames of events `start` to `through`, as far as one page holds them."""
    frames: list[msgspec.Raw] = []
    room, seq = PAGE_BYTES, start
    while seq <= through and len(frames) < PAGE_EVENTS and room > 0:
        if readable(group, user, seq):
            value = _value(tables, group, seq)
            frames.append(msgspec.Raw(value))
            room -= len(value)
            seq += 1
        else:
            since = seq
            while seq <= through and not readable(group, user, seq):
                seq += 1
            frames.append(msgspec.Raw(msgspec.json.encode(Withheld(group.id, since, seq - 1))))
        if len(frames) % YIELD_EVENTS == 0:
            await asyncio.sleep(0)
    return Answer(frames=frames, through=max(seq - 1, start - 1))


async def _messages(tables: PartitionTables, group: Group, read: ReadMessages) -> Answer:
    """Up to `limit` messages; the newest below `before`, or the oldest above `after`."""
    onwards = read.after is not None
    low = max(group.first, read.after + 1) if read.after is not None else group.first
    high = min(group.seq, read.before - 1) if read.before is not None else group.seq
    seqs: Iterator[int] = iter(range(low, high + 1) if onwards else range(high, low - 1, -1))
    items: list[bytes] = []
    room, more = PAGE_BYTES, False
    for looked, seq in enumerate(seqs, 1):
        if looked % YIELD_EVENTS == 0:
            await asyncio.sleep(0)
        if not readable(group, read.user, seq) or (item := _item(_value(tables, group, seq))) is None:
            continue
        if len(items) == read.limit or room <= 0:
            more = True
            break
        items.append(item)
        room -= len(item)
    if not onwards:
        items.reverse()
    return Answer(messages=[msgspec.Raw(item) for item in items], more=more)


def _item(value: bytes) -> bytes | None:
    """An event as a history item, or None if it is no message."""
    if b'"kind":"message.posted"' not in value:  # most of what is no message is seen without decoding it
        return None
    event = decode_event(value)
    if not isinstance(event.data, MessagePosted):
        return None
    d = event.data
    return msgspec.json.encode(
        HistoryItem(
            seq=event.seq,
            id=event.id,
            by=event.by,
            at=event.at,
            client_msg_id=event.client_msg_id,
            text=d.text,
            reply_to=d.reply_to if d.reply_to is not None else msgspec.UNSET,
            mentions=d.mentions or msgspec.UNSET,
            attributes=d.attributes if d.attributes is not None else msgspec.UNSET,
            reactions={},
        )
    )


def _value(tables: PartitionTables, group: Group, seq: int) -> bytes:
    value = tables.event(group.id, seq)
    if value is None:
        raise NotLoadedError(f"{group.id}/{seq}")
    return value
