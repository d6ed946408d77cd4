"""When a process that died may start again."""

from app.cli.launch.restarts import BURST, LONGEST_S, WINDOW_S, Restarts


def test_a_death_is_followed_by_a_start_at_once() -> None:
    assert Restarts().died(now=100, lived_s=3600) == 0


def test_a_burst_of_deaths_is_forgiven_and_the_next_one_pauses() -> None:
    restarts = Restarts()

    pauses = [restarts.died(now=i * 0.5, lived_s=0.5) for i in range(BURST + 1)]

    assert pauses[:BURST] == [0] * BURST
    assert 0 < pauses[BURST] <= 1


def test_deaths_that_are_far_apart_never_pause() -> None:
    restarts = Restarts()

    assert all(restarts.died(now=i * 3.0, lived_s=3) == 0 for i in range(50))


def test_the_pauses_of_a_crash_loop_double_up_to_the_longest() -> None:
    restarts = Restarts()
    now, pauses = 0.0, []
    for _ in range(20):
        pauses.append(restarts.died(now, lived_s=0.2))
        now += pauses[-1] + 0.2

    growing = [pause for pause in pauses if pause]
    assert all(0.75 * min(LONGEST_S, 2**i) <= pause <= min(LONGEST_S, 2**i) for i, pause in enumerate(growing))
    assert growing[-1] >= 0.75 * LONGEST_S


def test_a_life_that_lasts_ends_the_loop() -> None:
    restarts = Restarts()
    for i in range(10):
        restarts.died(now=i * 0.1, lived_s=0.1)

    assert restarts.died(now=100, lived_s=WINDOW_S) == 0
