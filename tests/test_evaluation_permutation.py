"""Sign-flip permutation: scipy's and McNemar's p-values, from our own draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.permutation import sign_flip

whole = st.lists(st.integers(-5, 5), min_size=2, max_size=12).map(lambda values: np.array(values, dtype=float))


def scipys(differences, **options):
    return stats.permutation_test(
        (differences,), lambda d, axis: np.sum(d, axis=axis), permutation_type="samples", vectorized=True, **options
    ).pvalue


@given(whole)
def test_with_few_differences_p_is_exact(differences):
    expected = scipys(differences, n_resamples=5_000) if np.any(differences) else 1.0
    assert sign_flip(differences) == pytest.approx(expected)


def test_with_many_differences_p_is_scipys_but_for_chance():
    rng = np.random.default_rng(4)
    for draw in (rng.normal(0.2, 1, 120), np.round(rng.normal(0.2, 1, 120))):  # distinct ones, and few distinct ones
        expected = scipys(draw, n_resamples=20_000, rng=np.random.default_rng(1))
        assert sign_flip(draw, Terms(resamples=20_000)) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(("wins", "losses"), [(1, 7), (30, 12), (20, 20), (9, 0)])
def test_for_wins_and_losses_it_is_mcnemars_exact_test(wins, losses):
    found = sign_flip(np.array([1.0] * wins + [-1.0] * losses + [0.0] * 50), Terms(resamples=50_000))
    assert found == pytest.approx(mcnemar([[0, wins], [losses, 0]], exact=True).pvalue, abs=0.004)


@given(whole, st.randoms())
def test_neither_order_nor_direction_nor_rows_that_tie_change_p(differences, random):
    shuffled = differences.tolist()
    random.shuffle(shuffled)
    terms = Terms(resamples=100)  # exact up to 6 differences, drawn beyond
    p = sign_flip(differences, terms)
    assert p == sign_flip(np.array(shuffled), terms) == sign_flip(-differences, terms)
    assert p == sign_flip(np.append(differences, [0.0, 0.0]), terms)
    assert 0 < p <= 1


def test_p_is_never_smaller_than_the_draws_can_tell():
    assert sign_flip(np.ones(100), Terms(resamples=999)) == 1 / 1000


def test_five_differences_cannot_be_significant_and_six_can():
    assert sign_flip(np.ones(5)) == 0.0625
    assert sign_flip(np.ones(6)) == 0.03125
