"""Repeats: the variance between rows and within them."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation.repeats import components

tables = st.integers(2, 8).flatmap(
    lambda rows: st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=rows, max_size=rows)
)


@given(tables)
def test_components_are_those_of_an_analysis_of_variance(table):
    table = np.array(table, dtype=float)
    rows = np.repeat(np.arange(len(table)), 3)
    design = (rows[:, None] == np.arange(len(table))).astype(float)
    within = sm.OLS(table.ravel(), design).fit().mse_resid
    between = (3 * np.var(table.mean(axis=1), ddof=1) - within) / 3
    found = components(table)
    assert found.within == pytest.approx(within, abs=1e-9)
    assert found.between == pytest.approx(max(0, between), abs=1e-9)
    assert found.error == pytest.approx(np.std(table.mean(axis=1), ddof=1) / math.sqrt(len(table)))


def test_they_add_up_to_the_error_as_asked_and_say_what_more_samples_bring():
    rng = np.random.default_rng(6)
    own = rng.beta(2, 1, 3000)
    found = components((rng.random((3000, 4)) < own[:, None]) * 1.0)
    assert found.between == pytest.approx(np.var(own), rel=0.1)
    assert found.within == pytest.approx(np.mean(own * (1 - own)), rel=0.05)
    assert found.error_with(4) == pytest.approx(found.error)
    assert found.error_with(1) > found.error > found.error_with(16) > found.error_with(math.inf) > 0
    assert found.gain == pytest.approx(1 - found.error_with(math.inf) / found.error)


def test_unscored_samples_are_left_out():
    nan = math.nan
    found = components([[1, 0, nan], [nan, nan, nan], [1, 1, 1], [0, nan, nan]])
    assert (found.rows, found.samples) == (3, pytest.approx(3 / (1 / 2 + 1 / 3 + 1)))
    assert found.within == pytest.approx(0.5 / 3)


def test_no_part_is_known_from_one_row_or_single_samples():
    assert components([[1, 0, 1]]) is None
    assert components([[1], [0]]) is None
    assert components([[1, math.nan], [0, math.nan]]) is None


def test_scores_that_never_differ_leave_nothing_to_gain():
    assert components([[1, 1], [1, 1]]).gain == 0


def test_one_column_of_scores_is_refused():
    with pytest.raises(ValueError, match="rows × samples; found 1 dimension"):
        components([1, 0])
