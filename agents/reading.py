"""Answers to gateways' reads: what a member may know of a group, from delivered events only (design I9)."""

import asyncio
from bisect import bisect_right
from itertools import islice

import msgspec

from agents.flusher import ClosedError
from agents.pages import View, events_page, messages_page, view_of
from agents.partition import Partition
from agents.presence import PartitionPresence
from app.domain.outcomes import Rejection
from app.domain.rules import invalid
from app.domain.spans import last_of
from app.domain.state import Group, Member, readable
from app.kafka.consumer import ReadError
from app.presence import NAMES
from app.reads import (
    ONLINE_NAMES,
    PAGE_MEMBERS,
    STATE_MEMBERS,
    Answer,
    AnyRead,
    Audience,
    MemberView,
    ReadAudience,
    ReadEvents,
    ReadMembers,
    ReadMessages,
    ReadPresence,
    ReadState,
    ReadSubscription,
    StateView,
    cursor_at,
    place_of,
)
from tables.history import NotLoadedError
from tables.partition_tables import PartitionTables


async def answer(partition: Partition, log_id: str, read: AnyRead, timeout_s: float) -> Answer:
    """The owner's answer to one read.

    What it says is taken from the state now, and said only when that state is on disk and the log up to `read.end`
    holds nothing else that counts.
    """
    if not partition.serving:
        return Answer(missing="not_owner")
    try:
        async with asyncio.timeout(timeout_s):
            group = await partition.tables.load(read.group)
            offset = partition.log.offset_after_all()
            covered = {"epoch": partition.log.epoch, "seq": group.seq}
            refusal = _refusal(group, read.user)
            said = Answer(refusal=refusal) if refusal else await _say(partition, group, log_id, read)
            reached = await offset
            # A page that was read meanwhile may know of later events (what it names is deleted now): on disk as well?
            await partition.log.offset_after_all()
            if not await partition.log.cover(read.end):
                return Answer(missing="behind")
    except (NotLoadedError, ReadError):
        return Answer(missing="loading")
    except (TimeoutError, ClosedError):
        return Answer(missing="not_owner")
    except Exception as why:  # noqa: BLE001 - an edge: it leaves on purpose
        if partition.serving:  # else its rows were taken away while they were read
            partition.fail(why)
        return Answer(missing="not_owner")
    if not partition.serving:
        return Answer(missing="not_owner")
    # What stands between the last event of this state and `end` is void, so reading on from `end` loses nothing.
    return msgspec.structs.replace(said, **covered, offset=max(reached, read.end))


def _refusal(group: Group, user: str | None) -> Rejection | None:
    if group.life != "alive":
        return Rejection("no_such_group", "there is no such group")
    if user is None:
        return None
    if user in group.banned:
        return Rejection("banned", "you are banned from this group")
    if user not in group.members:
        return Rejection("not_a_member", "you are not a member of this group")
    return None


async def _say(partition: Partition, group: Group, log_id: str, read: AnyRead) -> Answer:
    tables, presence = partition.tables, partition.presence
    match read:
        case ReadState():
            return await _state_at(tables, presence, group, read)
        case ReadPresence():
            return Answer(online=_online(presence, group, read.limit), announced=presence.announced)
        case ReadAudience():
            return Answer(audience=_audience(presence, group))
        case ReadMembers():
            return _members(group, read)
        case ReadEvents():
            return events_page(tables.history, view_of(group, read.user), read.after + 1, read.through)
        case ReadMessages():
            return await messages_page(tables.history, view_of(group, read.user), read)
        case ReadSubscription():
            view = view_of(group, read.user)
            start, recovered = _start(group, view, log_id, read)
            state = _state(group, presence) if read.state else None
            online = _online(presence, group, ONLINE_NAMES) if read.online else None
            announced = presence.announced  # with `online`: what the page waits for must not come between them
            # Who only wants what is to come is served while the history is loaded.
            page = (
                events_page(tables.history, view, start, view.head) if start <= view.head else Answer(through=view.head)
            )
            return msgspec.structs.replace(
                page, state=state, start=start, recovered=recovered, online=online, announced=announced
            )


async def _state_at(tables: PartitionTables, presence: PartitionPresence, group: Group, read: ReadState) -> Answer:
    seq = group.seq if read.at_seq is None else read.at_seq
    if not group.first <= seq <= group.seq:
        return Answer(refusal=invalid("at_seq", f"must be a seq of this life: {group.first} to {group.seq}"))
    if seq == group.seq:
        return Answer(state=_state(group, presence), announced=presence.announced)
    if read.user is not None and not readable(group, read.user, seq):
        return Answer(refusal=Rejection("forbidden", "you were not a member at this seq"))
    return Answer(state=_state(await tables.past.at(group, seq), None))


def _state(group: Group, presence: PartitionPresence | None) -> StateView:
    """The state as clients see it; an old one, which has no `presence`, without what is known of now only."""
    old = presence is None
    members = [_member(user, m, old=old) for user, m in islice(group.members.items(), STATE_MEMBERS)]
    online = [] if presence is None else _online(presence, group, NAMES + 1)
    return StateView(
        name=group.name,
        topic=group.topic,
        join=group.join,
        history=group.history,
        first=group.first,
        seq=group.seq,
        members=members,
        members_more=True if len(group.members) > STATE_MEMBERS else msgspec.UNSET,
        online=msgspec.UNSET if old else online[:NAMES],
        online_more=True if len(online) > NAMES else msgspec.UNSET,
    )


def _online(presence: PartitionPresence, group: Group, most: int) -> list[str]:
    """The members who are online, at most so many: a membership may end before its socket says so."""
    return list(islice((user for user in presence.show(group.id) if user in group.members), most))


def _audience(presence: PartitionPresence, group: Group) -> Audience:
    """Who misses a message; as soon as two are found who are offline nobody else is looked at."""
    online = presence.online(group.id)
    return Audience(group.name, len(group.members), list(islice((u for u in group.members if u not in online), 2)))


def _member(user: str, member: Member, *, old: bool = False) -> MemberView:
    return MemberView(user, member.role, msgspec.UNSET if old else member.joined)


def _members(group: Group, read: ReadMembers) -> Answer:
    """A page of members in the order of joining; the cursor is the place of the last one, so it outlives its member."""
    after = (0, -1) if read.cursor is None else place_of(read.cursor)
    if after is None:
        return Answer(refusal=invalid("cursor", "must be one that an answer gave"))
    members = list(group.members.items())
    start = bisect_right(members, after, key=lambda item: (item[1].joined, item[1].place))
    page = members[start : start + max(1, min(read.limit, PAGE_MEMBERS))]
    more = start + len(page) < len(members)
    return Answer(
        members=[_member(user, m) for user, m in page],
        cursor=cursor_at(page[-1][1].joined, page[-1][1].place) if more else None,
    )


def _start(group: Group, view: View, log_id: str, read: ReadSubscription) -> tuple[int, bool]:
    """Where the replay begins, and whether it is what the client asked for (protocol §4, §9 Lives)."""
    head, oldest = view.head, view.oldest
    if read.last is not None:
        if read.last == 0:
            return head + 1, True
        start = last_of(view.spans, read.last)
        return (oldest if start is None else start), True
    if read.after is None:
        return head + 1, True
    if read.after > head or (read.log is not None and read.log != log_id):
        return head + 1, False
    if read.after in {0, group.first - 1}:
        return oldest, True
    if read.after >= oldest - 1:
        return read.after + 1, True
    return oldest, False
