"""`evolve`: a group's state after an event. Total over the kinds; idempotent by seq; no clock, id or I/O.

It changes the state it is given and returns it: a group has one owner and nobody else holds its state, and
copying the members of a group of 50,000 for each join would make the cost of an event grow with the group
(docs/adr/003-state-in-place.md).
"""

from app.domain import idempotency, instants
from app.domain.events import Event, GroupCreated, MemberJoined, MemberLeft, MemberRemoved, MessagePosted
from app.domain.state import Group, Member, Sent


class SeqGapError(Exception):
    """An event that is not the next one: the fold has lost its place and must not guess."""


def evolve(group: Group, event: Event) -> Group:
    """`group` after `event`; unchanged if the event is in it already.

    Raises:
        SeqGapError: `event.seq` is beyond the next one.
    """
    if event.seq <= group.seq:
        return group
    if event.seq != group.seq + 1:
        raise SeqGapError(f"{group.id}: event {event.seq} after {group.seq}")
    if isinstance(event.data, GroupCreated):
        _begin_life(group)
    group.seq = event.seq
    group.at_ms = instants.to_ms(event.at)
    group.touched.add(("head",))
    _apply(group, event)
    _remember(group, event)
    return group


def _apply(group: Group, event: Event) -> None:
    match event.data:
        case GroupCreated() as d:
            group.life, group.first = "alive", event.seq
            group.name, group.topic, group.join = d.name, d.topic, d.join
            group.rules = [(event.seq, d.history)]
            for place, new in enumerate(d.members):
                _enter(group, new.user, Member(new.role, event.seq, place))
        case MemberJoined() as d:
            _enter(group, d.user, Member(d.role, event.seq))
        case MemberLeft() as d:
            _exit(group, d.user, event.seq)
        case MemberRemoved() as d:
            if d.user in group.members:
                _exit(group, d.user, event.seq)
            if d.banned:
                group.banned.add(d.user)
                group.touched.add(("ban", d.user))
            if d.owner is not None:
                group.members[d.owner].role = "owner"
                group.touched.add(("member", d.owner))
        case MessagePosted():
            pass  # messages are the history's; the head's seq and instant are all the state keeps


def _enter(group: Group, user: str, member: Member) -> None:
    group.members[user] = member
    group.touched.add(("member", user))


def _exit(group: Group, user: str, seq: int) -> None:
    member = group.members.pop(user)
    group.past.setdefault(user, []).append((member.joined, seq))
    group.touched.update({("member", user), ("past", user)})


def _remember(group: Group, event: Event) -> None:
    """Keep the event's `client_msg_id`, and let go of those out of the window, oldest first."""
    if event.client_msg_id is not None:
        key = (event.by or "", event.client_msg_id)
        group.sent.pop(key, None)  # an expired key used again goes to the end of the order
        group.sent[key] = Sent(event.seq, group.at_ms, idempotency.digest_of_event(event))
        group.touched.add(("sent", *key))
    while group.sent:
        key, sent = next(iter(group.sent.items()))
        if not idempotency.expired(sent, group.seq, group.at_ms):
            break
        del group.sent[key]
        group.touched.add(("sent", *key))


def _begin_life(group: Group) -> None:
    """Bans, memberships and keys end with a life (protocol §9)."""
    group.touched.update(("member", user) for user in group.members)
    group.touched.update(("ban", user) for user in group.banned)
    group.touched.update(("past", user) for user in group.past)
    group.touched.update(("sent", *key) for key in group.sent)
    group.members.clear()
    group.banned.clear()
    group.past.clear()
    group.sent.clear()
