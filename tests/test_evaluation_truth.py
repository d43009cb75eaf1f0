"""Evaluations simulated from a known truth: intervals hold it as often as they say, and equal variants are called
different no more often than agreed. The default run draws a few of them; `make prove` a thousand of each kind, whose
figures stand as properties in pytest's `--junit-xml`."""

from collections.abc import Callable

import numpy as np
import pytest

from journeybatch.evaluation import power
from journeybatch.evaluation.comparison import compare
from journeybatch.evaluation.estimates import Terms
from journeybatch.evaluation.intervals import estimate
from journeybatch.evaluation.repeats import components
from journeybatch.evaluation.statistics import find
from journeybatch.evaluation.thrift import price_of_right

TERMS = Terms(resamples=1_999)
FEW, MANY = 40, 1_000

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]]


def shares(rows: int, accuracy: float) -> Draw:
    return lambda rng: ((rng.random(rows) < accuracy) * 1.0, None)


def graded(rows: int) -> Draw:
    """Token F1 as it is often seen: a third all right, a fifth all wrong, the others about 0.6."""

    def draw(rng):
        kind = rng.random(rows)
        return np.where(kind < 1 / 3, 1.0, np.where(kind < 1 / 3 + 1 / 5, 0.0, rng.beta(3, 2, rows))), None

    return draw


def skewed(rows: int) -> Draw:
    """Seconds or distances: exponential with mean 1."""
    return lambda rng: (rng.exponential(1.0, rows), None)


def grouped(clusters: int, accuracy: float, most: int, binary: bool) -> Draw:
    """Clusters of 1 to ``most`` rows whose own accuracy is drawn about ``accuracy`` (correlation 0.25)."""

    def draw(rng):
        own = rng.beta(3 * accuracy, 3 * (1 - accuracy), clusters)
        groups = np.repeat(np.arange(clusters), rng.integers(1, most + 1, clusters))
        rows = rng.random(len(groups)) < own[groups] if binary else rng.normal(own[groups], 0.3)
        return rows * 1.0, groups

    return draw


TRUTHS = [
    pytest.param(shares(200, 0.6), 0.6, id="Wilson, 200 rows, 0.6"),
    pytest.param(shares(1000, 0.85), 0.85, id="Wilson, 1000 rows, 0.85"),
    pytest.param(graded(150), 1 / 3 + 7 / 15 * 0.6, id="BCa, 150 rows, F1"),
    pytest.param(skewed(200), 1.0, id="BCa, 200 rows, exponential"),
    pytest.param(grouped(60, 0.6, 9, binary=True), 0.6, id="clustered, 60 of 1 to 9 rows, shares"),
    pytest.param(grouped(15, 0.6, 20, binary=True), 0.6, id="clustered, 15 of 1 to 20 rows, shares"),
    pytest.param(grouped(40, 0.6, 9, binary=False), 0.6, id="clustered, 40 of 1 to 9 rows, scores"),
    pytest.param(grouped(10, 0.6, 20, binary=False), 0.6, id="clustered, 10 of 1 to 20 rows, scores"),
]


def coverage(draw: Draw, truth: float, evaluations: int, naive: bool = False) -> float:
    rng = np.random.default_rng(20241101)
    held = 0
    for _ in range(evaluations):
        scores, groups = draw(rng)
        found = estimate(scores, None if naive or groups is None else groups.tolist(), TERMS).interval
        held += found.low <= truth <= found.high
    return held / evaluations


def calls(draw: Callable[[np.random.Generator], tuple], evaluations: int) -> dict[str, float]:
    """How often the second of two variants is called better, or the two different."""
    rng = np.random.default_rng(20241102)
    verdicts = [compare(("A", "B"), *draw(rng), terms=TERMS).verdict for _ in range(evaluations)]
    return {
        "better": verdicts.count("better") / evaluations,
        "different": 1 - verdicts.count("undecided") / evaluations,
    }


def equals(rng):
    """Two variants of accuracy 0.6 on 300 rows, right together more often than by chance."""
    ease = rng.beta(1.2, 0.8, 300)
    return (rng.random(300) < ease) * 1.0, (rng.random(300) < ease) * 1.0


def equal_scores(rng):
    ease = rng.beta(2, 1, 150)
    return np.clip(rng.normal(ease, 0.2), 0, 1), np.clip(rng.normal(ease, 0.2), 0, 1)


def equal_in_clusters(rng, naive: bool = False):
    """Two variants that are equal over all texts, each with texts of its own that it is good at."""
    groups = np.repeat(np.arange(30), 10)
    own = rng.beta(0.9, 0.6, (2, 30))
    before, after = (rng.random((2, 300)) < own[:, groups]) * 1.0
    return (before, after) if naive else (before, after, groups.tolist())


def naive_in_clusters(rng):
    return equal_in_clusters(rng, naive=True)


EQUALS = [equals, equal_scores, equal_in_clusters]


@pytest.mark.parametrize(("draw", "truth"), TRUTHS)
def test_in_a_few_evaluations_intervals_hold_the_truth(draw, truth):
    assert 0.87 <= coverage(draw, truth, FEW) <= 1


@pytest.mark.parametrize("draw", EQUALS)
def test_in_a_few_evaluations_equal_variants_are_seldom_called_different(draw):
    assert calls(draw, FEW)["different"] <= 0.12


def test_in_a_few_evaluations_rows_of_clusters_taken_as_independent_mislead():
    assert calls(naive_in_clusters, FEW)["different"] > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "truth"), TRUTHS)
def test_intervals_hold_the_truth_as_often_as_they_say(draw, truth, record_property):
    found = coverage(draw, truth, MANY)
    record_property("coverage", found)
    assert 0.93 <= found <= 0.97


@pytest.mark.slow
def test_an_interval_that_takes_rows_of_clusters_as_independent_does_not(record_property):
    found = coverage(grouped(60, 0.6, 9, binary=True), 0.6, MANY, naive=True)
    record_property("coverage", found)
    assert found < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("draw", EQUALS)
def test_intervals_of_differences_hold_the_truth(draw, record_property):
    rng = np.random.default_rng(20241104)
    found = [compare(("A", "B"), *draw(rng), terms=TERMS).interval for _ in range(MANY)]
    held = sum(each.low <= 0 <= each.high for each in found) / MANY
    record_property("coverage", held)
    assert 0.93 <= held <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("draw", EQUALS)
def test_equal_variants_are_called_better_in_at_most_one_of_twenty_evaluations(draw, record_property):
    found = calls(draw, MANY)
    record_property("called", found)
    assert found["better"] <= 0.05
    assert found["different"] <= 0.05 + 2 * (0.05 * 0.95 / MANY) ** 0.5  # the level itself is seen with some noise


@pytest.mark.slow
def test_a_test_that_takes_rows_of_clusters_as_independent_calls_them_better_far_more_often(record_property):
    found = calls(naive_in_clusters, MANY)
    record_property("called", found)
    assert found["better"] > 0.1


@pytest.mark.slow
def test_of_a_family_of_equal_variants_any_is_called_different_in_at_most_one_of_twenty_evaluations(record_property):
    rng = np.random.default_rng(20241105)
    wrong = raw = 0
    for _ in range(MANY):
        ease = rng.beta(1.2, 0.8, 300)
        seen = find({name: (rng.random(300) < ease) * 1.0 for name in "ABCDE"}, "A", terms=TERMS).comparisons
        wrong += any(each.verdict != "undecided" for each in seen)
        raw += any(each.p <= 0.05 for each in seen)
    record_property("called", {"corrected": wrong / MANY, "raw": raw / MANY})
    assert wrong / MANY <= 0.05 < raw / MANY


@pytest.mark.slow
def test_a_difference_that_is_called_detectable_is_seen_in_four_of_five_evaluations(record_property):
    smallest = power.detectable_share(400, 0.3)

    def draw(rng):
        kind = rng.random(400)
        only_before, only_after = kind < (0.3 - smallest) / 2, (kind >= (0.3 - smallest) / 2) & (kind < 0.3)
        both = kind > 0.6
        return (only_before | both) * 1.0, (only_after | both) * 1.0

    found = calls(draw, MANY)["better"]
    record_property("power", found)
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.slow
def test_a_right_answer_costs_what_its_interval_says_also_where_hard_rows_cost_more(record_property):
    rng = np.random.default_rng(20241106)
    held = 0
    for _ in range(MANY):
        hard = rng.random(300) < 0.3
        right = rng.random(300) < np.where(hard, 0.4, 0.9)
        found = price_of_right(right * 1.0, np.where(hard, 4.0, 1.0)).interval
        held += found.low <= (0.7 + 0.3 * 4) / (0.7 * 0.9 + 0.3 * 0.4) <= found.high
    record_property("coverage", held / MANY)
    assert 0.93 <= held / MANY <= 0.97


@pytest.mark.slow
def test_more_samples_shrink_the_error_as_foretold():
    rng = np.random.default_rng(20241103)

    def asked(samples):
        own = rng.beta(1.2, 0.8, 400)
        return (rng.random((400, samples)) < own[:, None]) * 1.0

    foretold = np.mean([components(asked(4)).error_with(16) for _ in range(200)])
    seen = np.std([np.mean(asked(16)) for _ in range(MANY)])
    assert seen == pytest.approx(foretold, rel=0.07)
