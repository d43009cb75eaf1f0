"""The law of requests per minute, without any loop: the clock is a number."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeybatch.pace import Pace


def starts(per_minute, arrivals, lateness=lambda n: 0.0):
    """When requests that come at ``arrivals`` start; ``lateness`` is how late the n-th one's timer rings."""
    pace, now, started = Pace(per_minute), 0.0, []
    for n, arrival in enumerate(sorted(arrivals)):
        now = max(now, arrival, pace.due()) + lateness(n)
        pace.start(now)
        started.append(now)
    return started


@settings(deadline=None, max_examples=200)
@given(
    per_minute=st.integers(1, 50),
    arrivals=st.lists(st.floats(0, 400), max_size=200),
    late=st.lists(st.floats(0, 3), min_size=1),
)
def test_in_any_sixty_seconds_at_most_so_many_requests_start(per_minute, arrivals, late):
    started = starts(per_minute, arrivals, lambda n: late[n % len(late)])
    for first, beyond in zip(started, started[per_minute:], strict=False):
        assert beyond - first > 60


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600])
def test_a_busy_job_gets_nearly_all_it_may_have(per_minute):
    started = starts(per_minute, [0.0] * (per_minute * 3 + 1))
    assert started[-1] == pytest.approx(180, rel=0.005)


def test_starts_are_spread_over_the_minute_instead_of_coming_at_once():
    started = starts(60, [0.0] * 30)
    assert min(b - a for a, b in itertools.pairwise(started)) > 0.9


def test_a_timer_that_rings_a_little_late_costs_no_throughput():
    started = starts(600, [0.0] * 601, lambda n: 0.004)
    assert started[-1] < 61


def test_an_idle_hour_is_not_saved_up_for_a_burst():
    started = starts(60, [0.0] + [3600.0] * 10)
    assert started[-1] - started[1] > 8.9
