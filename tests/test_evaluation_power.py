"""Power: what a number of rows would show, against enumeration, statsmodels and published examples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import normal_sample_size_one_tail

from journeybatch.evaluation import power
from journeybatch.evaluation.clusters import design_effect


def enumerated(rows, discordance, difference, alpha):
    """The chance that the test calls the better variant better, over every table of wins and losses."""
    won, lost = (discordance + difference) / 2, (discordance - difference) / 2
    total = 0.0
    for wins in range(rows + 1):
        for losses in range(rows + 1 - wins):
            if wins > losses and stats.binomtest(wins, wins + losses).pvalue <= alpha:
                ties = rows - wins - losses
                total += stats.multinomial.pmf([wins, losses, ties], rows, [won, lost, 1 - discordance])
    return total


@pytest.mark.parametrize(("discordance", "difference"), [(0.5, 0.3), (0.9, 0.4), (0.4, 0.4)])
def test_the_power_of_mcnemars_test_equals_that_of_all_tables(discordance, difference):
    expected = enumerated(24, discordance, difference, 0.05)
    assert power.mcnemar_power(24, discordance, difference) == pytest.approx(expected, abs=1e-8)


def test_a_detectable_difference_has_the_power_asked_for():
    found = power.detectable_share(1319, 0.25)
    assert power.mcnemar_power(1319, 0.25, found) == pytest.approx(0.8, abs=1e-3)
    assert found == pytest.approx((1.96 + 0.8416) * math.sqrt(0.25 / 1319), rel=0.03)  # near the normal formula


def test_so_few_rows_show_nothing():
    assert power.detectable_share(5, 0.5) is None  # five wins of five have p = 0.0625
    assert power.detectable_share(0, 0.5) is None
    assert power.detectable_share(8, 0.0) is not None


@given(st.integers(20, 500), st.floats(0, 1), st.floats(0.001, 0.05))
@settings(max_examples=10, deadline=None)
def test_a_stricter_test_sees_less(rows, discordance, alpha):
    strict, plain = power.detectable_share(rows, discordance, alpha), power.detectable_share(rows, discordance)
    assert strict is None or plain <= strict + 2e-5


def test_the_rows_needed_have_the_power_and_are_near_the_normal_formula():
    rows = power.rows_for_share(0.03, 0.3)
    assert power.mcnemar_power(rows, 0.3, 0.03) >= 0.8
    assert rows == pytest.approx(power.rows_for(0.03, power.error_at(1, 0.3 - 0.03**2)), rel=0.03)


def test_no_number_of_rows_shows_next_to_nothing(monkeypatch):
    monkeypatch.setattr(power, "MOST_ROWS", 10_000)
    assert power.rows_for_share(0.001, 0.5) is None
    assert power.rows_for(0.001, 0.7) is None


def test_rows_needed_are_those_of_statsmodels_and_of_a_published_example():
    # Miller 2024: conditional variances 0, variance of true differences 1/9, 3 points: about 1,000 questions
    assert power.rows_for(0.03, power.error_at(1, 1 / 9)) == 969
    expected = normal_sample_size_one_tail(0.2, 0.8, 0.025, std_null=0.9)
    assert power.rows_for(0.2, 0.9) == math.ceil(expected)


@given(st.floats(0.01, 1), st.floats(0.001, 2))
def test_rows_needed_and_difference_detectable_are_two_sides_of_one_formula(difference, spread):
    rows = power.rows_for(difference, spread)
    assert power.detectable(spread / math.sqrt(rows)) <= difference * (1 + 1e-6)


def test_fewer_degrees_of_freedom_see_less():
    assert power.detectable(1.0, 5) > power.detectable(1.0, 50) > power.detectable(1.0)
    assert power.detectable(1.0) == pytest.approx(2.8016, abs=1e-4)


def test_clusters_take_more_rows_by_their_design_effect_and_samples_fewer():
    alone = power.rows_for(0.05, power.error_at(1, 0.2))
    assert power.rows_for(0.05, power.error_at(1, 0.2, design=design_effect([10] * 5, 0.2))) == pytest.approx(
        2.8 * alone, rel=1e-2
    )
    once, often = (power.error_at(100, 0.1, 0.3, samples) for samples in (1, 3))
    assert once / often == pytest.approx(math.sqrt(2))
    with pytest.raises(ValueError, match="one row and one sample or more"):
        power.error_at(0, 0.1)


def test_discordance_from_accuracies_and_correlation():
    assert power.discordance(0.5, 0.5) == 0.5
    assert power.discordance(0.6, 0.6, 1.0) == pytest.approx(0)
    assert power.discordance(0.9, 0.8) == pytest.approx(0.9 * 0.2 + 0.1 * 0.8)
    rng = np.random.default_rng(2)
    both = rng.random(200_000)
    before, after = both < 0.6, (both < 0.5) | (both > 0.85)
    seen = np.corrcoef(before, after)[0, 1]
    assert power.discordance(before.mean(), after.mean(), seen) == pytest.approx(np.mean(before != after))


def test_variances_before_anything_is_measured():
    between, within = power.variances(0.6, 0.5, 0.8)
    assert between + within == pytest.approx(power.discordance(0.6, 0.6, 0.5))  # one sample each
    assert between == pytest.approx(power.discordance(0.6, 0.6, 0.5) - power.discordance(0.6, 0.6, 0.8))
    assert power.variances(0.6, 0.5)[1] == 0
    for wrong in [(0.6, 0.9, 0.5), (1.1, 0.1, 1.0), (0.6, 0.1, 1.1)]:
        with pytest.raises(ValueError, match="correlation ≤ steadiness ≤ 1"):
            power.variances(*wrong)


@pytest.mark.parametrize("wrong", [(1.2, 0.5, 0.0), (0.9, 0.1, 0.9), (0.9, 0.8, -1.0)])
def test_what_two_variants_cannot_have_is_refused(wrong):
    with pytest.raises(ValueError, match=r"lie between|cannot correlate"):
        power.discordance(*wrong)


def test_a_difference_of_nothing_is_refused():
    with pytest.raises(ValueError, match="other than 0"):
        power.rows_for(0.0, 0.5)
    with pytest.raises(ValueError, match="other than 0"):
        power.rows_for_share(0.0, 0.5)
