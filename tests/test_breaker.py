"""The breaker, as pure decisions."""

import pytest

from journeybatch.breaker import Breaker
from journeybatch.records import Price, Request


def request(number, attempt=1):
    return Request(number, "m", (), b"", Price(1, 1), attempt)


def failures(breaker, stamps, now=100.0, *, of=None, attempt=1, overdue=0, **how):
    return [breaker.failed(now, stamp, request(of or stamp, attempt), overdue=overdue, **how) for stamp in stamps]


def answers(breaker, stamps, now=100.0):
    for stamp in stamps:
        breaker.answered(now, stamp, request(stamp))


def test_twenty_failures_in_a_row_open_it():
    breaker = Breaker(8)
    assert failures(breaker, range(1, 21)) == [False] * 19 + [True]
    assert breaker.open
    assert breaker.probe_at == 160


def test_ten_pauses_for_nothing_open_it():
    breaker = Breaker(8)
    assert failures(breaker, range(1, 11), throttled=True) == [False] * 9 + [True]


def test_a_burst_that_was_in_flight_when_a_pause_began_does_not_open_it():
    breaker = Breaker(8)
    assert not any(failures(breaker, range(1, 500), throttled=True, news=False))


def test_an_answer_to_something_begun_since_ends_the_streak_and_an_older_one_does_not():
    breaker = Breaker(8)
    answers(breaker, range(1, 60), 90.0)  # healthy until now, so that the half is not the question
    failures(breaker, range(100, 119))
    answers(breaker, [99], 100.0)
    assert failures(breaker, [120]) == [True]
    breaker = Breaker(8)
    answers(breaker, range(1, 60), 90.0)
    failures(breaker, range(100, 119))
    answers(breaker, [130], 100.0)
    assert not any(failures(breaker, range(131, 150)))


def test_it_opens_when_fewer_than_half_of_twenty_succeed():
    breaker = Breaker(8)
    stamp = 0
    for _ in range(9):
        stamp += 2
        failures(breaker, [stamp])
        answers(breaker, [stamp + 1], 100.0)
    assert not breaker.open
    stamp += 2
    assert failures(breaker, [stamp, stamp + 1]) == [False, True]


def test_outcomes_of_more_than_half_a_minute_ago_are_forgotten():
    breaker = Breaker(8)
    answers(breaker, range(1, 1001), 100.0)
    opened = []
    for n in range(19):
        answers(breaker, [2000 + 2 * n], 129.0)
        opened += failures(breaker, [2001 + 2 * n, 2001 + 2 * n], now=129.0)
    assert not any(opened)  # 19 of 57 succeeded now, but 1,000 did 29 s ago
    answers(breaker, [3000], 131.0)
    assert failures(breaker, [3001], now=131.0) == [True]


def test_quick_failures_do_not_open_it_while_slow_requests_outlive_them():
    breaker = Breaker(8)
    assert not any(failures(breaker, range(1, 60), overdue=200))
    assert not breaker.systemic


def test_one_request_failing_again_and_again_is_not_the_endpoints_fault():
    breaker = Breaker(8)
    failures(breaker, range(1, 12), of=7)
    assert not breaker.systemic
    failures(breaker, range(12, 19))
    assert breaker.systemic


def test_requests_that_had_failed_before_say_nothing_about_the_endpoint():
    breaker = Breaker(8)
    assert not any(failures(breaker, range(1, 100), attempt=2))
    assert not breaker.systemic


def test_an_answer_closes_it():
    breaker = Breaker(8)
    failures(breaker, range(1, 21))
    answers(breaker, [21], 200.0)
    assert not breaker.open
    assert not breaker.systemic
    assert not any(failures(breaker, range(22, 40), now=201.0))


def test_a_probe_is_due_every_minute_whether_or_not_the_last_came_back():
    breaker = Breaker(8)
    failures(breaker, range(1, 21))
    breaker.probe(160.0)
    assert breaker.probe_at == 220


def test_a_wish_for_sooner_is_believed_less_and_less():
    breaker = Breaker(8)
    failures(breaker, range(1, 21))
    now, gaps = 100.0, []
    for _ in range(9):
        breaker.hurry(now, 1.0)
        gaps.append(breaker.probe_at - now)
        now = breaker.probe_at
        breaker.probe(now)
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_later_wish_does_not_put_off_the_minute():
    breaker = Breaker(8)
    failures(breaker, range(1, 21))
    breaker.hurry(100.0, 3600.0)
    assert breaker.probe_at == 160


@pytest.mark.parametrize(("hours", "hopeless"), [(3.99, False), (4.0, True)])
def test_four_hours_on_end_are_hopeless(hours, hopeless):
    breaker = Breaker(8)
    failures(breaker, range(1, 21), now=50.0)
    assert breaker.hopeless(50.0 + hours * 3600) is hopeless
