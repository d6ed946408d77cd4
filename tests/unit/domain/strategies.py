"""Random commands, events and targets for one group: few users, keys and seqs, so that they meet each other."""

from typing import Any

from hypothesis import strategies as st

from app.domain.commands import (
    AddMember,
    AnyCommand,
    Command,
    CreateGroup,
    Delete,
    DeleteGroup,
    Edit,
    Join,
    Leave,
    MemberSpec,
    PruneHistory,
    React,
    RemoveMember,
    Send,
    SetRole,
    Unban,
    Unreact,
    UpdateGroup,
)
from app.domain.events import (
    AnyData,
    Data,
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
    NewMember,
    ReactionAdded,
    ReactionRemoved,
)
from app.domain.instants import to_text
from app.domain.state import Target

USERS = ["ann", "bob", "cyd", "dan"]
FIRST_MS = 1_795_569_600_000

users = st.sampled_from(USERS)
callers = st.none() | users
keys = st.none() | st.sampled_from(["k1", "k2", "k3"])
seqs = st.integers(0, 20)
emojis = st.sampled_from(["+", "-"])
roles = st.sampled_from(["reader", "member", "admin", "owner"])
below_owner = st.sampled_from(["reader", "member", "admin"])
joins = st.sampled_from(["open", "invite"])
histories = st.sampled_from(["all", "joined"])
words = st.sampled_from(["one", "two"])
instants = st.integers(FIRST_MS, FIRST_MS + 3 * 24 * 3_600_000)
some_members = st.lists(st.builds(MemberSpec, users, below_owner), max_size=3).map(tuple)

# What is particular to each command.
FIELDS: dict[type[Command], dict[str, st.SearchStrategy[Any]]] = {
    CreateGroup: {"name": words, "topic": words, "join": joins, "history": histories, "members": some_members},
    UpdateGroup: {
        "name": st.none() | words,
        "topic": st.none() | words,
        "join": st.none() | joins,
        "history": st.none() | histories,
    },
    DeleteGroup: {},
    Join: {},
    Leave: {},
    AddMember: {"user": users, "role": below_owner},
    RemoveMember: {"user": users, "ban": st.booleans()},
    Unban: {"user": users},
    SetRole: {"user": users, "role": roles},
    Send: {"client_msg_id": st.sampled_from(["k1", "k2", "k3", "k4"]), "text": words, "reply_to": st.none() | seqs},
    Edit: {"seq": seqs, "text": words},
    Delete: {"seq": seqs},
    React: {"seq": seqs, "emoji": emojis},
    Unreact: {"seq": seqs, "emoji": emojis},
    PruneHistory: {"through": seqs},
}  # fmt: skip


def commands_of(kind: type[Command], group: str) -> st.SearchStrategy[Any]:
    """Any command of one kind for `group`."""
    common = {"id": st.just("c"), "group": st.just(group), "by": callers, "client_msg_id": keys}
    return st.builds(kind, **common | FIELDS[kind])


def commands(group: str) -> st.SearchStrategy[AnyCommand]:
    """Any command for `group`. Few end a life: a run of commands should be more than beginnings."""
    kinds = [kind for kind in FIELDS if kind is not DeleteGroup]
    usual = st.one_of([commands_of(kind, group) for kind in kinds])
    return st.integers(0, 59).flatmap(lambda n: commands_of(DeleteGroup, group) if n == 59 else usual)


targets = st.none() | st.builds(Target, seqs, callers, st.booleans(), st.booleans())

# What is particular to each kind of event.
DATAS: dict[type[Data], dict[str, st.SearchStrategy[Any]]] = {
    GroupCreated: FIELDS[CreateGroup]
    | {"members": st.lists(st.builds(NewMember, users, roles), max_size=3).map(tuple)},
    GroupUpdated: FIELDS[UpdateGroup],
    GroupDeleted: {},
    MemberJoined: {"user": users, "role": roles},
    MemberLeft: {"user": users},
    MemberRemoved: {"user": users, "banned": st.booleans(), "owner": callers},
    MemberUnbanned: {"user": users},
    MemberRoleChanged: {"user": users, "role": roles, "former": callers},
    MessagePosted: {"text": words, "reply_to": st.none() | seqs},
    MessageEdited: {"target": seqs, "text": words},
    MessageDeleted: {"target": seqs},
    ReactionAdded: {"target": seqs, "emoji": emojis},
    ReactionRemoved: {"target": seqs, "emoji": emojis},
    HistoryPruned: {"through": seqs},
}

datas: st.SearchStrategy[AnyData] = st.one_of([st.builds(kind, **fields) for kind, fields in DATAS.items()])


def _event(seq: int, data: AnyData, by: str | None, at_ms: int, key: str | None) -> Event:
    at = to_text(at_ms)
    return Event(group="g", seq=seq, id=f"e{seq}", kind=data.kind, by=by, at=at, client_msg_id=key, data=data)


# Events of the group "g" that need not be the outcome of anything, their seqs in any order.
any_events = st.builds(_event, seqs, datas, callers, instants, keys)

# Logs that no run of commands leads to: any events, but numbered as a log is.
any_logs: st.SearchStrategy[list[Event]] = st.lists(st.tuples(datas, callers, instants, keys), max_size=25).map(
    lambda log: [_event(seq, *what) for seq, what in enumerate(log, 1)]
)
