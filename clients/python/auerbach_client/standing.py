"""A group's settings and members, folded from a state and the events behind it: pure."""

from auerbach_client.answers import GroupState
from auerbach_client.bodies import (
    GroupCreated,
    GroupUpdated,
    MemberJoined,
    MemberLeft,
    MemberRemoved,
    RoleChanged,
)
from auerbach_client.frames import Event


class Standing:
    """Settings, and `members` (role by user, in the order of joining), as of the event `seq`.

    `members_more`: the group had more members than a state tells, and `members` lacks some.
    """

    def __init__(self) -> None:
        self.name = self.topic = self.join = self.history = ""
        self.seq = 0
        self.members: dict[str, str] = {}
        self.members_more = False

    def begin(self, state: GroupState) -> None:
        """Take over a state as the server tells it."""
        self.name, self.topic, self.join, self.history = state.name, state.topic, state.join, state.history
        self.seq, self.members_more = state.seq, state.members_more
        self.members = {member.user: member.role for member in state.members}

    def apply(self, event: Event) -> None:
        """Take in an event; what the state contained already is passed over."""
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        match event.body:
            case GroupCreated() as made:
                self.name, self.topic, self.join, self.history = made.name, made.topic, made.join, made.history
                self.members, self.members_more = {each.user: each.role for each in made.members}, False
            case GroupUpdated() as changed:
                for name in ("name", "topic", "join", "history"):
                    if (value := getattr(changed, name)) is not None:
                        setattr(self, name, value)
            case MemberJoined(user=user, role=role):
                self.members[user] = role
            case MemberLeft(user=user):
                self.members.pop(user, None)
            case MemberRemoved(user=user, owner=owner):
                self.members.pop(user, None)
                if owner is not None:
                    self.members[owner] = "owner"
            case RoleChanged(user=user, role=role, previous=previous):
                self.members[user] = role
                if previous is not None:
                    self.members[previous] = "admin"
