"""From an owner's memory to what clients are told: whatever comes between, both end with the same."""

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.presence import PartitionPresence
from app.presence import Announcement, Change, Report
from web.presence_view import GroupView, Place

USERS = ["ann", "bob"]
SETTLED_S = 15.0

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from(USERS)),
        st.tuples(st.just("turn here"), st.sampled_from(USERS)),
        st.tuples(st.sampled_from(["announce", "announce and read", "ask"]), st.just("")),
        st.tuples(st.sampled_from(["lose", "read", "answered", "wait", "lapse"]), st.just("")),
        st.tuples(st.just("new owner"), st.sampled_from(["", *USERS])),  # who comes or goes without the owner before
    ),
    max_size=25,
)


_GONE = [("turn", "ann"), ("announce and read", "")]
_LAPSED = [("announce and read", ""), ("lapse", ""), ("read", "")]


class World:
    """One group: users at another gateway, users here, their owner, and the log that announces."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = 1
        self.numbers = {"there": 0, "here": 0}
        self.truth: dict[str, set[str]] = {"there": set(), "here": set()}
        self.owner = PartitionPresence(self.now)
        self.unread: list[tuple[Place, Announcement]] = []
        self.answers: list[Callable[[], None]] = []
        self.view = GroupView("g", self.epoch, lambda user: user in self.truth["here"])
        self.seen: set[str] = set()  # by a client that was told everything

    def do(self, what: str, user: str) -> None:
        match what:
            case "turn":
                self.turn("there", user)
            case "turn here":
                self.turn("here", user)
            case "announce" | "lose":
                self.pass_by(0.2, lost=what == "lose")
            case "read" if self.unread:
                place, announcement = self.unread.pop(0)
                self.view.hear(place, announcement, self.now)
            case "ask":
                self.ask()
            case "answered" if self.answers:
                self.answers.pop(0)()
            case "announce and read":
                self.pass_by(0.2, lost=False)
                while self.unread:
                    self.do("read", "")
            case "lapse":  # the owner has not heard of this gateway for too long
                self.report("here", [], afresh=True)
                self.now += 0.2
                self.announce(lost=False)
            case "new owner":
                if user:
                    self.truth["there"] ^= {user}
                self.replace_owner()
            case "wait":
                self.pass_by(3, lost=False)
        self.tell()

    def turn(self, gateway: str, user: str) -> None:
        self.truth[gateway] ^= {user}
        self.report(gateway, [Change("g", user, online=user in self.truth[gateway])])
        if gateway == "here" and user not in self.truth["here"]:
            self.view.left_here(user)

    def report(self, gateway: str, changes: list[Change], *, afresh: bool = False) -> None:
        since, number = 0 if afresh else self.numbers[gateway], self.numbers[gateway] + 1
        self.numbers[gateway] = number
        if (
            self.owner.report(gateway, Report(partition=0, since=since, number=number, changes=changes), self.now)
            != "ok"
        ):
            users = [Change("g", each, online=True) for each in self.truth[gateway]]
            self.report(gateway, users, afresh=True)

    def replace_owner(self) -> None:
        self.epoch += 1
        self.owner = PartitionPresence(self.now)
        self.view.advance(self.epoch, self.now)
        for gateway in self.truth:
            self.report(gateway, [])

    def pass_by(self, seconds: float, *, lost: bool) -> None:
        self.now += seconds
        for gateway, users in self.truth.items():
            self.report(gateway, [Change("g", user, online=True) for user in users])
        self.announce(lost=lost)

    def announce(self, *, lost: bool) -> None:
        self.owner.sweep(self.now)
        due = self.owner.due(self.now)
        for number, announcement in enumerate(due, self.owner.announced - len(due) + 1):
            if lost:
                self.owner.undelivered(announcement, self.now)
            else:
                self.unread.append(((self.epoch, number), announcement))

    def ask(self) -> None:
        place, online = (self.epoch, self.owner.announced), list(self.owner.show("g"))

        def answered() -> None:
            if place[0] < self.epoch:
                return  # of an owner that is none: not used (design I9)
            if self.view.wants_online:
                self.view.begin(place, online, self.now)
                if not self.seen:
                    self.seen = set(self.view.told)
            self.view.refresh(place, online, self.truth["here"])

        self.answers.append(answered)

    def tell(self) -> None:
        while (change := self.view.take(self.now)) is not None:
            self.seen = (self.seen - set(change.left)) | set(change.joined)

    def settle(self) -> None:
        self.answers.clear()
        if not self.view.begun:
            self.ask()
        for _ in range(round(SETTLED_S)):
            self.pass_by(1, lost=False)
            while self.answers:
                self.answers.pop(0)()
            while self.unread:
                self.do("read", "")
            self.tell()


@settings(max_examples=1_000)
@given(_steps)
@example([("turn", "ann"), ("ask", ""), ("answered", ""), ("turn", "ann")])  # shown, and gone before it is announced
@example([("turn", "ann"), ("ask", ""), ("answered", ""), ("new owner", "ann")])
@example([("turn", "ann"), ("ask", ""), ("turn", "ann"), ("announce and read", ""), ("answered", "")])
@example([("ask", ""), ("answered", ""), ("turn", "ann"), ("ask", ""), *_GONE, ("answered", "")])
@example([("ask", ""), ("answered", ""), ("turn here", "ann"), *_LAPSED, ("turn here", "ann")])
def test_whatever_comes_between_clients_end_with_what_is_true(steps: list[tuple[str, str]]) -> None:
    world = World()
    for what, user in steps:
        world.do(what, user)
    world.settle()
    true = world.truth["there"] | world.truth["here"]
    assert set(world.owner.online("g")) == true
    assert set(world.view.told) == true
    assert world.seen == true
