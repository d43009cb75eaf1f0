"""Intervals: equal to those of scipy and statsmodels, and lawful."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.intervals import MANY_ROWS, bca, estimate, wilson

QUICK = Terms(resamples=199)
RNG = np.random.default_rng(3)
SKEWED = RNG.exponential(1, 60)

scores = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, math.nan]), st.floats(-5, 5).map(lambda x: round(x, 3))), max_size=25
)
rights = st.lists(st.sampled_from([0.0, 1.0, math.nan]), max_size=25)
letters = st.lists(st.sampled_from("abcdef"), min_size=25, max_size=25)


@given(st.integers(1, 400), st.data(), st.floats(0.5, 0.999))
def test_wilson_is_that_of_scipy_and_statsmodels(rows, data, confidence):
    right = data.draw(st.integers(0, rows))
    found = wilson(right, rows, confidence)
    other = stats.binomtest(right, rows).proportion_ci(confidence, method="wilson")
    third = proportion_confint(right, rows, 1 - confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(third, abs=1e-9)


def test_wilson_of_a_published_example():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (right, rows), ends in published.items():
        found = wilson(right, rows)
        assert (found.low, found.high) == pytest.approx(ends, abs=5e-5)


def test_counts_that_cannot_be_are_refused():
    for counts in [(1, 0), (3, 2), (-1, 2)]:
        with pytest.raises(ValueError, match="none or more are right"):
            wilson(*counts)


def test_bca_is_that_of_scipy_with_other_draws():
    found = bca(SKEWED, Terms(seed=1, resamples=20_000))
    other = stats.bootstrap((SKEWED,), np.mean, n_resamples=20_000, rng=np.random.default_rng(99)).confidence_interval
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.01)
    assert found.high - SKEWED.mean() > SKEWED.mean() - found.low  # it follows the skew


def test_bca_of_long_hand():
    """Efron's formulas over draws of our own, with the jackknife written out."""
    rng = np.random.default_rng(8)
    draws = SKEWED[rng.integers(0, 60, (40_000, 60))].mean(axis=1)
    bias = stats.norm.ppf(np.mean(draws < SKEWED.mean()))
    left_out = np.array([np.delete(SKEWED, row).mean() for row in range(60)])
    lever = left_out.mean() - left_out
    skew = np.sum(lever**3) / (6 * np.sum(lever**2) ** 1.5)
    z = bias + stats.norm.ppf([0.025, 0.975])
    ends = np.quantile(draws, stats.norm.cdf(bias + z / (1 - skew * z)))
    found = bca(SKEWED)
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.015)


@given(scores, letters, st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_estimate_and_grows_with_confidence(values, groups, grouped):
    named = groups[: len(values)] if grouped else None
    narrow, wide = (estimate(values, named, Terms(resamples=199, confidence=level)) for level in (0.8, 0.95))
    assert (narrow.interval is None) == (wide.interval is None)
    if narrow.interval:
        assert wide.interval.low <= narrow.interval.low <= narrow.value <= narrow.interval.high <= wide.interval.high


@given(scores, letters, st.randoms(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_changes_nothing(values, groups, random, grouped):
    order = list(range(len(values)))
    random.shuffle(order)
    one = estimate(values, groups[: len(values)] if grouped else None, QUICK)
    other = estimate([values[n] for n in order], [groups[n] for n in order] if grouped else None, QUICK)
    assert (one.value, one.rows, one.unscored, one.clusters) == (
        other.value,
        other.rows,
        other.unscored,
        other.clusters,
    )
    assert (one.interval is None) == (other.interval is None)
    if one.interval:
        assert (one.interval.low, one.interval.high) == pytest.approx(
            (other.interval.low, other.interval.high), abs=1e-9
        )


@given(rights, letters, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_interval_of_a_share_lies_from_0_to_1_and_is_never_a_point(values, groups, grouped):
    found = estimate(values, groups[: len(values)] if grouped else None).interval
    assert found is None or 0 <= found.low < found.high <= 1


def test_unscored_rows_are_left_out_and_counted():
    found = estimate(pl.Series([1, None, 0, 1]))
    assert (found.value, found.rows, found.unscored) == (2 / 3, 3, 1)
    assert found.interval == wilson(2, 3)
    assert found.error == pytest.approx(1 / 3)


def test_nothing_scored_is_nothing_known():
    found = estimate([None, None], ["a", "a"])
    assert (found.value, found.interval, found.error, found.rows, found.unscored) == (None, None, None, 0, 2)
    assert estimate([]).rows == 0


def test_a_row_with_samples_counts_once_with_their_mean():
    table = np.array([[1, 1, 0], [0, math.nan, 0], [math.nan] * 3, [1, 1, 1]])
    found = estimate(table)
    assert found.value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert (found.rows, found.unscored) == (3, 1)


def test_samples_are_not_taken_for_rows():
    table = np.repeat((RNG.random((60, 1)) < 0.5) * 1.0, 5, axis=1)
    found = estimate(table)
    assert found.interval.method == "BCa bootstrap"
    assert found.interval.high - found.interval.low > 0.2  # 300 independent answers would give 0.11


def test_rows_that_are_all_alike_get_wilson_where_scores_are_bounded_and_nothing_elsewhere():
    assert estimate([0.5] * 30).interval == wilson(15, 30)
    assert estimate([1.0] * 30, ["a", "b", "c"] * 10).interval == wilson(3, 3)
    assert estimate([7.0] * 30).interval is None
    assert estimate([[1.0, 1.0]] * 30).interval == wilson(30, 30)
    assert estimate([0.3, 0.6] * 8, [n // 2 for n in range(16)]).interval == wilson(0.45 * 8, 8)
    assert estimate([3.0, 6.0] * 8, [n // 2 for n in range(16)]).interval is None


def test_one_row_or_one_cluster():
    assert estimate([1.0]).interval == wilson(1, 1)
    assert estimate([3.5]).interval is None
    assert estimate([1.0, 0.0, 1.0], ["a", "a", "a"]).interval is None


@pytest.mark.parametrize("rows", [9, MANY_ROWS + 1])
def test_few_and_very_many_rows_get_a_t_interval(rows):
    values = RNG.normal(5, 1, rows)
    found = estimate(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.interval.method, found.interval.low) == ("t", pytest.approx(expected.low))
    assert found.interval.high == pytest.approx(expected.high)


def test_scores_from_0_to_1_have_an_interval_from_0_to_1():
    assert estimate([0.9, 1.0, 1.0, 1.0, 0.1]).interval.high == 1


def test_clusters_widen_the_interval_of_a_share():
    values = [1.0] * 20 + [0.0] * 20
    alone, together = estimate(values), estimate(values, [n // 5 for n in range(40)])
    assert together.clusters == 8
    assert together.interval.method == "Wilson, cluster-robust (CR2)"
    assert together.interval.high - together.interval.low > 2 * (alone.interval.high - alone.interval.low)


def test_groups_of_one_row_each_are_no_clusters():
    values = [1.0, 0.0, 1.0]
    assert estimate(values, ["a", "b", "c"]) == estimate(values)
    assert estimate([1.0, None, 1.0], ["a", "a", "c"]) == estimate([1.0, None, 1.0])


def test_a_cube_of_scores_is_refused():
    with pytest.raises(ValueError, match="rows × samples; found 3 dimensions"):
        estimate(np.zeros((2, 2, 2)))
