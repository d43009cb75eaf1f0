"""Clusters: the error, the degrees of freedom and the correlation, against long-hand linear algebra."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from journeybatch.evaluation import clusters

groups = st.lists(st.integers(0, 5), min_size=4, max_size=25).filter(lambda found: len(set(found)) > 1)


def long_hand(values, codes, related):
    """CR2 and Satterthwaite's degrees of freedom as Bell and McCaffrey write them, with whole matrices."""
    n = len(values)
    ones = np.ones((n, 1))
    hat = ones @ ones.T / n
    residual = np.eye(n) - hat
    error, columns = 0.0, []
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        block = np.eye(len(own)) - hat[np.ix_(own, own)]
        roots, vectors = np.linalg.eigh(block)
        adjust = vectors @ np.diag(roots**-0.5) @ vectors.T
        error += float((ones[own].T @ adjust @ (residual @ values)[own]).item()) ** 2
        columns.append(residual[:, own] @ adjust @ ones[own] / n)
    shares = np.hstack(columns)
    covariance = np.where(codes[:, None] == codes[None, :], related, 0.0)
    np.fill_diagonal(covariance, 1.0)
    spread = shares.T @ covariance @ shares
    return np.sqrt(error) / n, np.trace(spread) ** 2 / np.sum(spread**2)


@given(groups, st.data())
def test_error_and_degrees_of_freedom_equal_those_of_whole_matrices(found, data):
    codes = clusters.number(found, len(found))
    codes = np.arange(len(found)) if codes is None else codes
    values = np.array(data.draw(st.lists(st.integers(-4, 4), min_size=len(found), max_size=len(found))), dtype=float)
    seen = clusters.mean(values, codes)
    error, freedom = long_hand(values, codes, seen.correlation)
    assert seen.error == pytest.approx(error, abs=1e-12)
    assert seen.freedom == pytest.approx(freedom, rel=1e-9)
    assert 0 < seen.freedom <= seen.clusters - 1 + 1e-9


def test_with_clusters_of_one_size_it_is_what_statsmodels_calls_cluster_robust_and_freedom_is_clusters_less_one():
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(12), 5)
    values = rng.normal(rng.normal(0, 1, 12)[codes], 1)
    fitted = sm.OLS(values, np.ones(60)).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": False, "df_correction": True}, use_t=True
    )
    seen = clusters.mean(values, codes)
    assert seen.error == pytest.approx(fitted.bse[0] * np.sqrt(12 / 11))
    assert seen.freedom == pytest.approx(11)


def test_rows_that_stand_alone_have_the_textbook_error():
    values = np.array([1.0, 2.0, 2.0, 5.0, 9.0])
    seen = clusters.mean(values)
    assert seen.error == pytest.approx(np.std(values, ddof=1) / np.sqrt(5))
    assert seen.freedom == pytest.approx(4)
    assert seen.correlation == 0


def test_a_few_large_clusters_leave_fewer_degrees_of_freedom():
    sizes = [40, 40, 2, 2, 2, 2, 2, 2]
    codes = np.repeat(np.arange(8), sizes)
    values = np.random.default_rng(1).normal(np.arange(8)[codes], 0.1)
    assert clusters.mean(values, codes).freedom < 4


def test_one_cluster_does_not_tell_how_sure_its_mean_is():
    assert clusters.mean(np.array([1.0, 2.0]), np.array([0, 0])) is None


def test_correlation_equals_that_of_a_worked_analysis_of_variance():
    # Shrout, Fleiss 1979, Psychological Bulletin 86, table 2: six targets, four judges, ICC(1,1) = 0.17
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    codes = np.repeat(np.arange(6), 4)
    assert clusters.correlation(np.ravel(ratings).astype(float), codes) == pytest.approx(0.1657, abs=1e-4)


def test_correlation_is_one_where_rows_of_a_cluster_are_alike_and_never_negative():
    codes = np.array([0, 0, 1, 1])
    assert clusters.correlation(np.array([1.0, 1.0, 0.0, 0.0]), codes) == 1
    assert clusters.correlation(np.array([1.0, 0.0, 1.0, 0.0]), codes) == 0


def test_the_design_effect_is_the_size_where_rows_are_alike_and_one_where_they_are_not():
    assert clusters.design_effect([5, 5, 5], 1.0) == pytest.approx(5)
    assert clusters.design_effect([5, 5, 5], 0.0) == 1
    assert clusters.design_effect([1, 9], 0.5) == pytest.approx(1 + (82 / 10 - 1) * 0.5)


def test_a_row_without_a_group_stands_alone():
    assert clusters.number(["a", None, "a", None], 4).tolist() == [0, 1, 0, 2]
    assert clusters.number(["a", None, "b", None], 4) is None


def test_as_many_groups_as_rows_are_wanted():
    with pytest.raises(ValueError, match="a group for each of 3 rows; found 2"):
        clusters.number(["a", "b"], 3)
