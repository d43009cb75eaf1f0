"""Comparisons: tests and intervals equal those of scipy, statsmodels and published examples; and lawful."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from journeybatch.evaluation import power
from journeybatch.evaluation.comparison import CLUSTERED, MCNEMAR, SIGN_FLIP, cohens_h, compare, correct, holm, newcombe
from journeybatch.evaluation.estimates import Terms

QUICK = Terms(resamples=199)
NAMES = ("A", "B")

binary = st.sampled_from([0.0, 1.0, math.nan])
graded = st.one_of(binary, st.floats(0, 1).map(lambda x: round(x, 2)))
pairs = st.one_of(
    st.lists(st.tuples(binary, binary, st.sampled_from("abcd")), max_size=25),
    st.lists(st.tuples(graded, graded, st.sampled_from("abcd")), max_size=25),
)


def counted(both, only_a, only_b, neither):
    before = [1.0] * (both + only_a) + [0.0] * (only_b + neither)
    after = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return before, after


@pytest.mark.parametrize("cells", [(1, 1, 7, 12), (59, 6, 16, 80), (0, 0, 0, 9), (5, 3, 0, 0), (200, 30, 55, 15)])
def test_shares_of_right_answers_get_mcnemars_exact_p(cells):
    found = compare(NAMES, *counted(*cells))
    assert found.test == MCNEMAR
    if cells[1] + cells[2]:
        assert found.p == pytest.approx(mcnemar([cells[:2], cells[2:]], exact=True).pvalue)
    else:
        assert found.p == 1
    assert (found.losses, found.wins, found.ties) == (cells[1], cells[2], cells[0] + cells[3])
    assert found.difference == pytest.approx((cells[2] - cells[1]) / sum(cells))


@pytest.mark.parametrize(
    ("cells", "ends", "p"),
    [
        # Fagerland, Lydersen, Laake 2014, Statistics in Medicine 33, 2850-2875: airway hyper-responsiveness
        ((1, 1, 7, 12), (0.026, 0.507), 0.0703),
        # Altman, Machin, Bryant, Gardner 2000, Statistics with Confidence, table 6.2
        ((14, 5, 0, 22), (-0.226, -0.011), 0.0625),
    ],
)
def test_newcombes_interval_and_the_exact_p_of_published_examples(cells, ends, p):
    found = compare(NAMES, *counted(*cells))
    assert (found.interval.low, found.interval.high) == pytest.approx(ends, abs=6e-4)
    assert found.p == pytest.approx(p, abs=5e-5)


def test_other_scores_get_the_interval_and_the_p_of_scipy_on_their_differences():
    rng = np.random.default_rng(11)
    before = rng.beta(2, 1, 80)
    after = np.clip(before + rng.normal(0.03, 0.1, 80), 0, 1)
    found = compare(NAMES, before, after, terms=Terms(resamples=30_000))
    boot = stats.bootstrap(
        (before, after), lambda a, b, axis: np.mean(b - a, axis=axis), paired=True, rng=np.random.default_rng(1)
    ).confidence_interval
    flips = stats.permutation_test(
        (after - before,),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=30_000,
        rng=np.random.default_rng(1),
    )
    assert (found.test, found.interval.method) == (SIGN_FLIP, "BCa bootstrap")
    assert (found.interval.low, found.interval.high) == pytest.approx((boot.low, boot.high), abs=1.5e-3)
    assert found.p == pytest.approx(flips.pvalue, abs=0.01)


def test_rows_of_clusters_are_flipped_together():
    groups = np.repeat(np.arange(8), 6)
    rng = np.random.default_rng(12)
    before, after = (rng.random((2, 48)) < 0.6) * 1.0
    found = compare(NAMES, before, after, groups.tolist())
    sums = np.bincount(groups, after - before)
    expected = stats.permutation_test(
        (sums,), lambda d, axis: np.sum(d, axis=axis), permutation_type="samples", vectorized=True
    )
    spread = np.std(sums / 6, ddof=1) / math.sqrt(8) * stats.t.ppf(0.975, 7)
    assert (found.test, found.clusters) == (CLUSTERED, 8)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval.high - found.difference == pytest.approx(spread)


@given(pairs, st.booleans())
@settings(max_examples=60, deadline=None)
def test_exchanged_variants_are_exchanged_results(rows, grouped):
    before, after, groups = zip(*rows, strict=True) if rows else ((), (), ())
    one = compare(NAMES, before, after, groups if grouped else None, QUICK)
    other = compare(NAMES[::-1], after, before, groups if grouped else None, QUICK)
    assert (one.p, one.wins, one.losses, one.rows) == (other.p, other.losses, other.wins, other.rows)
    assert one.detectable == pytest.approx(other.detectable)
    assert (one.interval is None) == (other.interval is None)
    if one.interval and one.difference:
        assert (one.interval.low, one.interval.high) == pytest.approx(
            (-other.interval.high, -other.interval.low), abs=1e-9
        )
        assert one.interval.low <= one.difference <= one.interval.high


@given(pairs, st.randoms(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing(rows, random, grouped):
    def seen():
        before, after, groups = zip(*rows, strict=True) if rows else ((), (), ())
        return compare(NAMES, before, after, groups if grouped else None, QUICK)

    one = seen()
    random.shuffle(rows)
    other = seen()
    assert (one.p, one.wins, one.verdict) == (other.p, other.wins, other.verdict)
    assert (one.interval is None) == (other.interval is None)
    if one.interval:
        assert (one.interval.low, one.interval.high) == pytest.approx(
            (other.interval.low, other.interval.high), abs=1e-9
        )


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_a_variant_is_not_better_than_itself(rows):
    scores = [row[0] for row in rows]
    found = compare(NAMES, scores, scores, [row[2] for row in rows], QUICK)
    assert (found.verdict, found.p) == ("undecided", 1)


def test_rows_that_lack_a_score_are_left_out_and_counted():
    found = compare(NAMES, pl.Series([1, None, 0, 1]), pl.Series([1, 1, None, 0]))
    assert (found.rows, found.unscored, found.baseline_mean, found.variant_mean) == (2, 2, 1.0, 0.5)


def test_no_common_row_is_no_comparison():
    found = compare(NAMES, [1, None], [None, 1], ["a", "a"])
    assert (found.rows, found.difference, found.interval, found.p, found.detectable) == (0, None, None, 1.0, None)


def test_samples_are_averaged_before_rows_are_paired():
    before = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
    after = np.array([[1, 1], [0, 1], [1, 1], [1, 1]])
    found = compare(NAMES, before, after)
    assert (found.test, found.wins, found.ties, found.difference) == (SIGN_FLIP, 3, 1, 0.375)
    assert found.shares
    assert found.p == 0.25


def test_a_difference_no_row_shows_has_an_interval_for_shares_and_none_for_other_scores():
    same = [1.0, 0.0] * 20
    assert compare(NAMES, same, same).interval == newcombe(20, 0, 0, 20)
    together = compare(NAMES, same, same, [n // 10 for n in range(40)]).interval
    assert together.high - together.low > newcombe(20, 0, 0, 20).high * 4
    assert compare(NAMES, [0.5, 0.2], [0.5, 0.2]).interval is None


def test_tables_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="A has scores for 2 rows, B for 1"):
        compare(NAMES, [1, 0], [1])


@given(st.floats(0, 1), st.floats(0, 1))
def test_cohens_h_is_that_of_statsmodels(one, other):
    assert cohens_h(one, other) == pytest.approx(proportion_effectsize(other, one), abs=1e-9)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_that_of_long_hand_and_never_below_the_raw_p(chances):
    found = holm(chances)
    assert all(corrected >= raw for corrected, raw in zip(found, chances, strict=True))
    worst = 0.0
    for step, number in enumerate(sorted(range(len(chances)), key=lambda n: chances[n])):
        worst = max(worst, min(1.0, chances[number] * (len(chances) - step)))
        assert found[number] == worst


@pytest.mark.parametrize("chances", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.01, 0.01], [0.2], [1.0, 0.9]])
def test_holm_is_that_of_statsmodels(chances):
    assert holm(chances) == pytest.approx(multipletests(chances, method="holm")[1])


def test_a_family_keeps_its_order_and_its_raw_p():
    first, second = compare(("A", "B"), *counted(40, 5, 20, 30)), compare(("A", "C"), *counted(40, 15, 20, 20))
    found = correct([second, first])
    assert [each.variant for each in found] == ["C", "B"]
    assert [each.p for each in found] == [second.p, first.p]
    assert [each.p_corrected for each in found] == [second.p, 2 * first.p]
    assert {each.family for each in found} == {2}


def test_no_comparisons_are_an_empty_family():
    assert correct([]) == ()


def test_a_larger_family_sees_less():
    alone = compare(NAMES, *counted(40, 10, 20, 30))
    together = correct([alone] * 5)[0]
    assert alone.detectable == power.detectable_share(100, 0.3)
    assert together.detectable == power.detectable_share(100, 0.3, 0.05 / 5) > alone.detectable


def test_four_clusters_cannot_show_a_difference():
    before, after = [0.0] * 40, [1.0] * 39 + [0.0]
    found = compare(NAMES, before, after, [n // 10 for n in range(40)])
    assert (found.p, found.verdict, found.detectable) == (0.125, "undecided", None)


def test_the_verdict_follows_the_corrected_p():
    seen = compare(NAMES, *counted(40, 5, 20, 30))
    assert seen.verdict == "better"
    assert compare(NAMES, *reversed(counted(40, 5, 20, 30))).verdict == "worse"
    assert correct([seen] * 20)[0].verdict == "undecided"
