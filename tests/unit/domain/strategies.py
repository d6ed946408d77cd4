"""Random commands for one group: few users and keys, so that they meet each other."""

from hypothesis import strategies as st

from app.domain.commands import AddMember, AnyCommand, CreateGroup, Join, Leave, MemberSpec, RemoveMember, Send

USERS = ["ann", "bob", "cyd", "dan"]
users = st.sampled_from(USERS)
keys = st.none() | st.sampled_from(["k1", "k2", "k3"])
callers = st.none() | users


def commands(group: str) -> st.SearchStrategy[AnyCommand]:
    """Any command for `group`."""
    create = st.builds(
        lambda by, key, join, history, members: CreateGroup(
            id="c", group=group, by=by, client_msg_id=key, name="n", join=join, history=history, members=tuple(members)
        ),
        users,
        keys,
        st.sampled_from(["open", "invite"]),
        st.sampled_from(["all", "joined"]),
        st.lists(st.builds(MemberSpec, users, st.sampled_from(["reader", "member", "admin"])), max_size=3),
    )
    join = st.builds(lambda by, key: Join(id="c", group=group, by=by, client_msg_id=key), users, keys)
    leave = st.builds(lambda by, key: Leave(id="c", group=group, by=by, client_msg_id=key), users, keys)
    add = st.builds(
        lambda by, key, user, role: AddMember(id="c", group=group, by=by, client_msg_id=key, user=user, role=role),
        callers,
        keys,
        users,
        st.sampled_from(["reader", "member", "admin"]),
    )
    remove = st.builds(
        lambda by, key, user, ban: RemoveMember(id="c", group=group, by=by, client_msg_id=key, user=user, ban=ban),
        callers,
        keys,
        users,
        st.booleans(),
    )
    send = st.builds(
        lambda by, key, text: Send(id="c", group=group, by=by, client_msg_id=key, text=text),
        users,
        st.sampled_from(["k1", "k2", "k3", "k4", "k5"]),
        st.sampled_from(["one", "two"]),
    )
    return st.one_of(create, join, leave, add, remove, send)


instants = st.integers(1_795_569_600_000, 1_795_569_600_000 + 3 * 24 * 3_600_000)
