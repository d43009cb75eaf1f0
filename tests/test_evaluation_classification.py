"""Classification: figures of a worked example, of statsmodels, and lawful."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from journeybatch.evaluation.classification import ClassScore, classify, cohens_kappa
from journeybatch.evaluation.intervals import estimate

words = st.sampled_from(["yes", "no", "maybe", None])
rows = st.lists(st.tuples(words, words), max_size=40)


def test_a_worked_example():
    found = classify(["cat", "cat", "cat", "dog", "dog", "fox"], ["cat", "cat", "dog", "dog", "cat", "cat"])
    assert found.labels == ("cat", "dog", "fox")
    assert found.confusion == ((2, 1, 0), (1, 1, 0), (1, 0, 0))
    assert found.accuracy == 0.5
    assert found.classes["cat"] == ClassScore(precision=0.5, recall=2 / 3, f1=4 / 7, targets=3, answers=4)
    assert found.classes["dog"] == ClassScore(precision=0.5, recall=0.5, f1=0.5, targets=2, answers=2)
    assert found.classes["fox"] == ClassScore(precision=None, recall=0.0, f1=0.0, targets=1, answers=0)
    assert found.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_an_answer_that_is_no_target_counts_as_a_class():
    found = classify(pl.Series(["a", "a"]), pl.Series(["a", "b"]))
    assert found.classes["b"] == ClassScore(precision=0.0, recall=None, f1=0.0, targets=0, answers=1)


def test_kappa_of_a_published_example():
    # Fleiss, Cohen, Everitt 1969, table 1: 200 cases, kappa 0.429, standard error 0.0536
    kappa, interval = cohens_kappa([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    assert kappa == pytest.approx(0.429, abs=5e-4)
    assert (interval.high - interval.low) / 2 / 1.96 == pytest.approx(0.0536, abs=5e-4)


@given(st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=3, max_size=3))
def test_kappa_and_its_interval_are_those_of_statsmodels(table):
    expected = inter_rater.cohens_kappa(table)
    kappa, interval = cohens_kappa(table)
    assert kappa == pytest.approx(expected.kappa)
    assert interval.low == pytest.approx(max(-1, expected.kappa_low))
    assert interval.high == pytest.approx(min(1, expected.kappa_upp))


def test_kappa_is_unknown_where_chance_agrees_always_and_its_interval_where_all_agree():
    assert cohens_kappa([[9]]) == (None, None)
    assert cohens_kappa([[9, 0], [0, 0]]) == (None, None)
    assert cohens_kappa([]) == (None, None)
    assert cohens_kappa([[5, 0], [0, 4]]) == (pytest.approx(1), None)


@given(rows)
def test_figures_agree_with_each_other(pairs):
    found = classify([target for target, _ in pairs], [answer for _, answer in pairs])
    scored = [(target, answer) for target, answer in pairs if target and answer]
    assert (found.rows, found.unscored) == (len(scored), len(pairs) - len(scored))
    assert found.accuracy == estimate([target == answer for target, answer in scored]).value
    assert sum(each.targets for each in found.classes.values()) == sum(map(sum, found.confusion)) == len(scored)
    for each in found.classes.values():
        if each.precision and each.recall:
            assert each.f1 == pytest.approx(2 / (1 / each.precision + 1 / each.recall))
        else:
            assert each.f1 == 0
    if found.kappa_interval:
        assert -1 <= found.kappa_interval.low <= found.kappa <= found.kappa_interval.high <= 1


def test_answers_and_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="found 1 for 2"):
        classify(["a", "b"], ["a"])
