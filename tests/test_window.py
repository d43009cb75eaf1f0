"""Additive increase, multiplicative decrease, and the ramp."""

from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.window import Window


@settings(deadline=None, max_examples=100)
@given(limit=st.integers(1, 300), events=st.lists(st.sampled_from(["answered", "failed", "shrink"])))
def test_the_size_never_leaves_one_to_the_limit(limit, events):
    window = Window(limit)
    for event in events:
        window.failed() if event == "failed" else getattr(window, event)(0.0, 0)
        assert 1 <= window.size <= limit


def test_it_starts_at_the_limit_at_once():
    window = Window(256)
    assert window.admits(255)
    assert not window.admits(256)


def test_throttling_takes_three_tenths_away():
    window = Window(100)
    window.shrink(0.0, 0)
    assert window.size == 70


def test_it_grows_back_to_the_limit_within_thirty_rounds_however_small_it_was():
    window = Window(256)
    for _ in range(100):
        window.shrink(0.0, 0)
    assert window.size == 1
    rounds = 0
    while window.size < 256:
        rounds += 1
        for _ in range(int(window.size)):
            window.answered(0.0, 0)
    assert 10 < rounds <= 30


def test_right_after_throttling_it_grows_by_about_one_a_round():
    window = Window(100)
    window.shrink(0.0, 0)
    for _ in range(70):
        window.answered(0.0, 0)
    assert 71 <= window.size < 72.5


def test_a_ramp_lets_in_two_for_every_answer_until_the_window_is_full():
    window, rounds = Window(256), []
    window.ramp(4)
    while window.ramping:
        in_flight = 0
        while window.admits(in_flight):
            window.start()
            in_flight += 1
        rounds.append(in_flight)
        for _ in range(in_flight):
            window.answered(0.0, 0)
    assert rounds == [4, 8, 16, 32, 64, 128]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), max_size=60))
def test_a_ramp_on_which_everything_fails_still_lets_in_one_at_a_time(successes):
    window = Window(256)
    window.ramp(1)
    for success in successes:
        assert window.admits(0)
        window.start()
        window.answered(0.0, 0) if success else window.failed()
    assert window.admits(0)
