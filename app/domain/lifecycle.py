"""Decisions about a group as a whole: its beginning, its settings, its end."""

from app.domain import rules
from app.domain.commands import CreateGroup, PruneHistory, UpdateGroup
from app.domain.events import GroupCreated, GroupDeleted, GroupUpdated, HistoryPruned, NewMember
from app.domain.outcomes import Rejection, Unchanged
from app.domain.state import Group


def create(group: Group, c: CreateGroup) -> GroupCreated | Rejection:
    """The creator becomes the owner; an authority's group is owned by the first member that it names."""
    if group.life == "alive":
        return Rejection("already_exists", "there is a group with this id")
    members = {m.user: NewMember(m.user, m.role) for m in c.members}
    owner = c.by if c.by is not None else next(iter(members), None)
    if owner is not None:
        members.pop(owner, None)
        members = {owner: NewMember(owner, "owner"), **members}
    return GroupCreated(name=c.name, topic=c.topic, join=c.join, history=c.history, members=tuple(members.values()))


def update(group: Group, c: UpdateGroup) -> GroupUpdated | Unchanged:
    """What differs from the settings in force, if anything does."""
    changed = GroupUpdated(
        name=c.name if c.name != group.name else None,
        topic=c.topic if c.topic != group.topic else None,
        join=c.join if c.join != group.join else None,
        history=c.history if c.history != group.history else None,
    )
    return Unchanged() if changed == GroupUpdated() else changed


def delete() -> GroupDeleted:
    """Who may is all there is to decide."""
    return GroupDeleted()


def prune(group: Group, c: PruneHistory) -> HistoryPruned | Rejection | Unchanged:
    """Retention is an authority's; what is pruned stays pruned."""
    if c.by is not None:
        return Rejection("forbidden", "history is pruned by an authority only")
    if c.through > group.seq:
        return rules.invalid("through", "is beyond the group's last event")
    return HistoryPruned(through=c.through) if c.through > max(group.pruned, group.first - 1) else Unchanged()
