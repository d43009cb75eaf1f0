"""Regression: errors and correlations of numbers."""

import math

import numpy as np
import pytest
import statsmodels.api as sm

from journeybatch.evaluation.regression import Regression, regress


def test_a_worked_example():
    found = regress([1, 2, 3, 4, None], [1, 2, 4, 6, 5])
    assert (found.mae, found.rmse, found.r2) == (0.75, pytest.approx(math.sqrt(5 / 4)), pytest.approx(1 - 5 / 5))
    assert found.spearman == pytest.approx(1)
    assert (found.rows, found.unscored) == (4, 1)


def test_correlation_is_that_of_a_fitted_line():
    rng = np.random.default_rng(7)
    targets = rng.normal(0, 1, 50)
    answers = 2 * targets + rng.normal(0, 1, 50)
    fitted = sm.OLS(answers, sm.add_constant(targets)).fit()
    found = regress(targets, answers)
    assert found.pearson == pytest.approx(math.sqrt(fitted.rsquared))
    assert found.r2 < fitted.rsquared  # answers are taken as they are, not fitted first


def test_what_is_undefined_is_null():
    assert regress([], []) == Regression(None, None, None, None, None, 0, 0)
    assert regress([None], [1]) == Regression(None, None, None, None, None, 0, 1)
    assert regress([2, 2], [1, 3]) == Regression(1, 1, None, None, None, 2, 0)
    assert regress([1, 3], [2, 2]) == Regression(1, 1, 0, None, None, 2, 0)


def test_answers_and_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="an answer for each target"):
        regress([1, 2], [1])
