"""An evaluation's statistics as a whole: three variants of known accuracy, told apart or not."""

import msgspec
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.statistics import Findings, find

ROWS = 1000
PLACE = np.arange(ROWS)
SCORES = {  # accuracies 0.55, 0.60, 0.60; the second shares more right answers with the first than the third does
    "short": (PLACE < 550) * 1.0,
    "long": ((PLACE >= 30) & (PLACE < 630)) * 1.0,
    "other": ((PLACE >= 300) & (PLACE < 900)) * 1.0,
}


def test_estimates_and_corrected_comparisons_are_those_computed_independently():
    found = find(SCORES, "short")
    for name, scores in SCORES.items():
        estimate = found.estimates[name]
        low, high = proportion_confint(scores.sum(), ROWS, method="wilson")
        assert estimate.value == scores.mean()
        assert (estimate.interval.low, estimate.interval.high) == pytest.approx((low, high))
    raw = []
    for name in ("long", "other"):
        table = [[np.sum((SCORES["short"] == a) & (SCORES[name] == b)) for b in (1, 0)] for a in (1, 0)]
        raw.append(mcnemar(table, exact=True).pvalue)
    assert [each.p for each in found.comparisons] == pytest.approx(raw)
    assert [each.p_corrected for each in found.comparisons] == pytest.approx(multipletests(raw, method="holm")[1])
    assert [each.verdict for each in found.comparisons] == ["better", "undecided"]
    assert found.sentences == (
        "long answers 5.0 points more than short, 95 % interval 3.0 to 7.0, p < 0.001 after correction",
        "other cannot be told from short with these rows: difference 5.0 points, interval 0.0 to 10.0, "
        "p = 0.055 after correction; differences under 7.9 points would not be seen here",
    )


def test_without_a_baseline_every_two_are_compared():
    pairs = [(each.baseline, each.variant) for each in find(SCORES).comparisons]
    assert pairs == [("short", "long"), ("short", "other"), ("long", "other")]


def test_groups_count_in_estimates_and_comparisons_alike():
    found = find(SCORES, "short", (PLACE % 40).tolist())
    assert {each.clusters for each in found.estimates.values()} == {each.clusters for each in found.comparisons} == {40}


def test_one_variant_is_estimated_and_compared_with_nothing():
    found = find({"only": SCORES["long"]}, "only")
    assert (list(found.estimates), found.comparisons) == (["only"], ())


def test_a_baseline_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="one of short, long, other; found longest"):
        find(SCORES, "longest")


def test_the_same_scores_give_the_same_figures_and_another_seed_nearly_the_same():
    rng = np.random.default_rng(3)
    scores = {"A": rng.beta(2, 1, 200), "B": rng.beta(2, 1, 200)}
    one, again, other = find(scores), find(scores), find(scores, terms=Terms(seed=1))
    assert one == again
    assert one != other
    assert one.comparisons[0].p == pytest.approx(other.comparisons[0].p, abs=0.02)
    assert one.comparisons[0].interval.low == pytest.approx(other.comparisons[0].interval.low, abs=0.002)


def test_findings_go_through_json_unchanged():
    found = find(SCORES, "short", (PLACE % 40).tolist())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Findings) == found


def test_confidence_is_that_of_every_interval():
    strict = find(SCORES, "short", terms=Terms(confidence=0.99))
    low = stats.binomtest(550, ROWS).proportion_ci(0.99, method="wilson").low
    assert strict.estimates["short"].interval.low == pytest.approx(low)
    assert {each.interval.confidence for each in strict.comparisons} == {0.99}
