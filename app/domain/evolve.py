"""`evolve`: a group's state after an event. Total over the kinds; idempotent by seq; no clock, id or I/O.

It changes the state it is given and returns it: a group has one owner and nobody else holds its state, and
copying the members of a group of 50,000 for each join would make the cost of an event grow with the group
(docs/adr/003-state-in-place.md).
"""

from app.domain import idempotency, instants
from app.domain.commands import HistoryRule, Role
from app.domain.events import (
    Event,
    GroupCreated,
    GroupDeleted,
    GroupUpdated,
    HistoryPruned,
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    MemberRoleChanged,
    MemberUnbanned,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReactionAdded,
    ReactionRemoved,
)
from app.domain.state import Group, Member, Sent


class SeqGapError(Exception):
    """An event that is not the next one: the fold has lost its place and must not guess."""


def evolve(group: Group, event: Event, request: str = "") -> Group:
    """`group` after `event`; unchanged if the event is in it already.

    `request` is the digest of what was asked, as the event's record carries it; without it (records of before it was
    written) the event tells.

    Raises:
        SeqGapError: `event.seq` is beyond the next one.
    """
    if event.seq <= group.seq:
        return group
    if event.seq != group.seq + 1:
        raise SeqGapError(f"{group.id}: event {event.seq} after {group.seq}")
    group.seq = event.seq
    group.at_ms = instants.to_ms(event.at)
    _apply(group, event)
    _remember(group, event, request)
    return group


def _apply(group: Group, event: Event) -> None:  # noqa: C901 - a branch a command
    match event.data:
        case MessagePosted() | MessageEdited() | MessageDeleted() | ReactionAdded() | ReactionRemoved():
            pass  # messages are the history's; the head's seq and instant are all the state keeps
        case GroupCreated() as d:
            _end_life(group)
            _forget_keys(group)
            group.life, group.first, group.pruned = "alive", event.seq, 0
            group.name, group.topic, group.join = d.name, d.topic, d.join
            group.touched.add(("head",))
            _rule(group, event.seq, d.history)
            for place, new in enumerate(d.members):
                _enter(group, new.user, Member(new.role, event.seq, place))
        case GroupUpdated() as d:
            group.name = group.name if d.name is None else d.name
            group.topic = group.topic if d.topic is None else d.topic
            group.join = d.join or group.join
            group.touched.add(("head",))
            if d.history is not None:
                _rule(group, event.seq, d.history)
        case GroupDeleted():
            _end_life(group)
            group.life = "deleted"
            group.touched.add(("head",))
        case MemberJoined() as d:
            _enter(group, d.user, Member(d.role, event.seq))
        case MemberLeft() as d:
            _exit(group, d.user, event.seq)
        case MemberRemoved() as d:
            _exit(group, d.user, event.seq)
            if d.banned:
                group.banned.add(d.user)
                group.touched.add(("ban", d.user))
            if d.owner is not None:
                _set_role(group, d.owner, "owner")
        case MemberUnbanned() as d:
            group.banned.discard(d.user)
            group.touched.add(("ban", d.user))
        case MemberRoleChanged() as d:
            if d.former is not None:
                _set_role(group, d.former, "admin")
            _set_role(group, d.user, d.role)
        case HistoryPruned() as d:
            group.pruned = max(group.pruned, d.through)
            group.touched.add(("head",))


# A crash may leave rows that are newer than the head they are folded on from, so a rule, a membership or its end may be
# there already, and a member may be one that joins later.


def _rule(group: Group, seq: int, rule: HistoryRule) -> None:
    if (seq, rule) not in group.rules:
        group.rules.append((seq, rule))
    group.touched.add(("rule", str(seq)))


def _enter(group: Group, user: str, member: Member) -> None:
    group.members.pop(user, None)  # the order is that of joining
    group.members[user] = member
    group.touched.add(("member", user))


def _exit(group: Group, user: str, seq: int) -> None:
    member = group.members.get(user)
    if member is None or member.joined > seq:  # banned ahead, or its end is there already
        return
    del group.members[user]
    spans = group.past.setdefault(user, [])
    if (member.joined, seq) not in spans:
        spans.append((member.joined, seq))
    group.touched.update({("member", user), ("past", user, str(member.joined))})


def _set_role(group: Group, user: str, role: Role) -> None:
    member = group.members.get(user)
    if member is not None:
        member.role = role
        group.touched.add(("member", user))


def _remember(group: Group, event: Event, request: str) -> None:
    """Keep the event's `client_msg_id`, and let go of those out of the window, oldest first."""
    if event.client_msg_id is not None:
        key = (event.by or "", event.client_msg_id)
        group.sent.pop(key, None)  # an expired key used again goes to the end of the order
        group.sent[key] = Sent(event.seq, group.at_ms, request or idempotency.digest_of_event(event))
        group.touched.add(("sent", *key))
    forget_expired(group)


def forget_expired(group: Group) -> None:
    """Let go of the keys that are out of the window or of an earlier life, the oldest first."""
    while group.sent:
        key, sent = next(iter(group.sent.items()))
        if sent.seq >= group.first and not idempotency.expired(sent, group.seq, group.at_ms):
            break
        del group.sent[key]
        group.touched.add(("sent", *key))


def _end_life(group: Group) -> None:
    """Memberships, bans and rules end with a life; keys only when the next one begins (protocol §9)."""
    group.touched.update(("member", user) for user in group.members)
    group.touched.update(("ban", user) for user in group.banned)
    group.touched.update(("past", user, str(since)) for user, spans in group.past.items() for since, _ in spans)
    group.touched.update(("rule", str(seq)) for seq, _ in group.rules)
    group.members.clear()
    group.banned.clear()
    group.past.clear()
    group.rules.clear()


def _forget_keys(group: Group) -> None:
    group.touched.update(("sent", *key) for key in group.sent)
    group.sent.clear()
