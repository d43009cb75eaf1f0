"""Thrift: the front of quality against credits, and what a right answer costs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.intervals import estimate, wilson
from journeybatch.evaluation.thrift import pareto, price_of_right

points = st.dictionaries(st.integers(0, 30).map(str), st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


@given(points)
def test_the_front_is_what_no_other_beats(variants):
    def beaten(name):
        quality, credits = variants[name]
        return any(q >= quality and c <= credits and (q, c) != (quality, credits) for q, c in variants.values())

    front = pareto(variants)
    assert set(front) == {name for name in variants if not beaten(name)}
    assert [variants[name][1] for name in front] == sorted(variants[name][1] for name in front)


def test_rows_of_one_price_have_the_interval_of_their_share():
    found = price_of_right([1.0] * 60 + [0.0] * 40, [3.0] * 100)
    share = wilson(60, 100)
    assert found.value == pytest.approx(5)
    assert (found.interval.low, found.interval.high) == pytest.approx((3 / share.high, 3 / share.low))


def test_nothing_right_has_no_price_and_no_upper_end():
    for credits in ([2.0] * 20, [1.0, 3.0] * 10):
        found = price_of_right([0.0] * 20, credits)
        assert found.value is None
        assert (found.interval.low, found.interval.high) == (pytest.approx(2 / wilson(0, 20).high), math.inf)


def test_rows_of_many_prices_have_the_interval_of_a_ratio():
    rng = np.random.default_rng(9)
    credits = rng.choice([1.0, 4.0], 400)
    scores = (rng.random(400) < np.where(credits == 1, 0.9, 0.4)) * 1.0
    found = price_of_right(scores, credits)
    boot = stats.bootstrap(
        (scores, credits),
        lambda s, c, axis: c.sum(axis=axis) / s.sum(axis=axis),
        paired=True,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.value == pytest.approx(credits.sum() / scores.sum())
    assert (found.interval.low, found.interval.high) == pytest.approx((boot.low, boot.high), rel=0.01)


def test_clusters_make_a_price_less_sure():
    scores, credits = [1.0] * 50 + [0.0] * 50, [1.0, 2.0] * 50
    alone, together = (
        price_of_right(scores, credits, groups).interval for groups in (None, [n // 10 for n in range(100)])
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_unscored_rows_are_left_out_with_their_credits():
    found = price_of_right([1.0, None, 0.0], [2.0, 50.0, 2.0])
    assert (found.value, found.credits, found.right, found.rows) == (4, 4, 1, 2)


def test_free_answers_and_no_answers():
    assert price_of_right([1.0, 0.0], [0.0, 0.0]).interval is None
    assert price_of_right([1.0, 0.0], [0.0, 0.0]).value == 0
    empty = price_of_right([], [])
    assert (empty.value, empty.interval, empty.rows) == (None, None, 0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 5)), min_size=1, max_size=30))
def test_a_price_lies_in_its_interval(rows):
    found = price_of_right([score for score, _ in rows], [credits for _, credits in rows], terms=Terms(resamples=199))
    if found.interval and found.value is not None:
        assert found.interval.low * (1 - 1e-9) <= found.value <= found.interval.high * (1 + 1e-9)


def test_what_is_no_share_has_no_price():
    for scores, credits in [([2.0], [1.0]), ([1.0], [-1.0])]:
        with pytest.raises(ValueError, match="scores from 0 to 1 and credits of 0 or more"):
            price_of_right(scores, credits)
    with pytest.raises(ValueError, match="the credits of each row"):
        price_of_right([1.0, 0.0], [1.0])


def test_everything_right_is_told_as_surely_as_the_mean_is():
    found = price_of_right([1.0] * 30, [1.0, 2.0] * 15)
    assert found.value == 1.5
    assert found.interval.low == pytest.approx(1.5 / estimate([1.0] * 30).interval.high)
