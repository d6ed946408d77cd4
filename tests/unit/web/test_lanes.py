"""Requests of one group take effect in the order sent."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from web.lanes import Done, Lanes


class Script:
    """Starts numbered requests and ends them when told."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.started: list[int] = []
        self.running: dict[int, Done] = {}

    def enter(self, number: int, group: str = "g", *, exclusive: bool) -> None:
        def start(done: Done) -> None:
            self.started.append(number)
            self.running[number] = done

        self.lanes.enter(group, start, exclusive=exclusive)

    def end(self, number: int) -> None:
        self.running.pop(number)()


def test_commands_overlap_and_a_read_waits_for_all_of_them() -> None:
    script = Script()
    script.enter(1, exclusive=False)
    script.enter(2, exclusive=False)
    script.enter(3, exclusive=True)
    script.enter(4, exclusive=False)
    assert script.started == [1, 2]
    script.end(2)
    assert script.started == [1, 2]
    script.end(1)
    assert script.started == [1, 2, 3]
    script.end(3)
    assert script.started == [1, 2, 3, 4]


def test_groups_do_not_wait_for_each_other() -> None:
    script = Script()
    script.enter(1, "a", exclusive=True)
    script.enter(2, "b", exclusive=True)
    assert script.started == [1, 2]


def test_nothing_is_started_once_closed() -> None:
    script = Script()
    script.enter(1, exclusive=True)
    script.enter(2, exclusive=True)
    script.lanes.close()
    script.end(1)
    assert script.started == [1]


def test_any_number_of_requests_that_end_at_once_wait_and_then_end_in_their_order() -> None:
    lanes, ended = Lanes(), list[int]()
    held: list[Done] = []
    lanes.enter("g", held.append, exclusive=True)

    def at_once(number: int) -> Callable[[Done], None]:
        def start(done: Done) -> None:
            ended.append(number)
            done()

        return start

    for number in range(1_000):
        lanes.enter("g", at_once(number), exclusive=number % 2 == 0)
    held.pop()()
    assert ended == list(range(1_000))


@given(st.lists(st.booleans(), max_size=30), st.randoms(use_true_random=False))
def test_whatever_ends_first_all_start_in_order_and_reads_alone(kinds: list[bool], random: object) -> None:
    script = Script()
    for number, exclusive in enumerate(kinds):
        script.enter(number, exclusive=exclusive)
    while script.running:
        assert len(script.running) == 1 or not any(kinds[number] for number in script.running)
        script.end(random.choice(sorted(script.running)))  # type: ignore[attr-defined]
    assert script.started == list(range(len(kinds)))
