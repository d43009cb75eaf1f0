"""Pauses, as pure decisions."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.pause import Pause


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 1e9), st.integers(1, 50)), max_size=30))
def test_the_deadline_is_extended_never_shortened_and_never_absurd(wishes):
    pause, now, last = Pause(random.Random(0)), 0.0, 0.0
    for later, wish, stamp in wishes:
        now += later
        pause.asked(now, wish, stamp, 50)
        assert pause.until >= last
        assert pause.until >= now + min(wish or 0, 900)
        assert pause.until <= max(last, now + 900)
        last = pause.until


def test_pauses_without_a_wish_grow_from_half_a_second_to_half_a_minute():
    pause, lengths = Pause(random.Random(0)), []
    for stamp in range(1, 10):
        now = stamp * 1000.0
        assert pause.asked(now, None, stamp, stamp)
        lengths.append(pause.until - now)
    assert 0.25 <= lengths[0] <= 0.5
    assert all(b > a for a, b in itertools.pairwise(lengths[:6]))
    assert 15 <= lengths[-1] <= 30


def test_a_server_that_says_at_once_for_ever_is_not_believed():
    pause = Pause(random.Random(0))
    for stamp in range(1, 8):
        pause.asked(0.0, 0.0, stamp, stamp)
    assert pause.until > 10


def test_of_all_that_was_in_flight_when_it_began_only_the_first_is_news():
    pause = Pause(random.Random(0))
    assert pause.asked(0.0, None, stamp=3, latest=9)
    assert not any(pause.asked(0.0, None, stamp, 9) for stamp in range(1, 10))
    assert pause.asked(1.0, None, stamp=10, latest=10)


def test_a_pause_is_fruitless_until_something_begun_after_it_is_answered():
    pause = Pause(random.Random(0))
    pause.asked(0.0, None, stamp=1, latest=5)
    assert not pause.fruitless
    pause.answered(5)  # was under way before
    pause.asked(1.0, None, stamp=6, latest=6)
    assert pause.fruitless
    pause.answered(7)
    assert not pause.fruitless


def test_a_deadline_that_has_passed_is_forgotten():
    pause = Pause(random.Random(0))
    pause.asked(0.0, 5.0, 1, 1)
    assert not pause.over(4.99)
    assert pause.over(5.0)
    assert pause.until is None
